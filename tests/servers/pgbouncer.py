"""Real PgBouncers, in transaction mode."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path

import psycopg

from tests.servers.process import TemporaryServer, program


class PgBouncer(TemporaryServer):
    """PgBouncer before a PostgreSQL: each transaction gets any of a few connections of the server.

    Args:
        port: of the PostgreSQL.
    """

    #: At once; SIGTERM waits in some versions until all clients are gone.
    _stop_signal = signal.SIGTERM

    def __init__(self, server_port: int) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="pgbouncer-")))
        self._server_port = server_port

    def through(self, url: str) -> str:
        """Return the address of a database of the PostgreSQL by way of this PgBouncer."""
        return url.replace(f":{self._server_port}/", f":{self.port}/")

    def _prepare(self) -> None:
        super()._prepare()
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": "transaction",
            # Few, so that clients share them.
            "default_pool_size": 3,
            "max_client_conn": 200,
        }
        lines = [
            "[databases]",
            f"* = host=127.0.0.1 port={self._server_port} user=postgres",
            "[pgbouncer]",
            *(f"{name} = {value}" for name, value in settings.items()),
        ]
        (self.folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
        if user := self._user():
            shutil.chown(self.folder, user)

    def _user(self) -> str | None:
        # PgBouncer refuses to run as root.
        return "nobody" if os.geteuid() == 0 else None

    def _command(self) -> list[str]:
        return [program("pgbouncer"), str(self.folder / "pgbouncer.ini")]

    def _answers(self) -> bool:
        try:
            psycopg.connect(
                f"postgresql://postgres@127.0.0.1:{self.port}/postgres", connect_timeout=2
            ).close()
        except psycopg.OperationalError:
            return False
        return True
