"""Real RabbitMQ servers."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import amqp
from typing_extensions import override

from tests.servers.process import PATIENCE, Server, free_port, program

if TYPE_CHECKING:
    import signal


#: Virtual hosts that are made by one call of `rabbitmqctl`, which takes two seconds of a processor to start.
_HOSTS_AT_ONCE = 6


class EpmdServer(Server):
    """Erlang's port mapper, which RabbitMQ would otherwise leave running behind it."""

    def _command(self) -> list[str]:
        return [program("epmd"), "-address", "127.0.0.1", "-port", str(self.port)]

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class RabbitServer(Server):
    """RabbitMQ: one node with a port mapper of its own; durable queues outlive a restart and a crash."""

    #: Erlang takes three seconds of a processor to start, of which a busy machine has few.
    _patience = 4 * PATIENCE

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        super().__init__(folder, port=port)
        self._mapper = EpmdServer(folder / "epmd")
        self._distribution_port = free_port()
        self._unused_hosts: list[str] = []

    @staticmethod
    def is_installed() -> bool:
        """Whether its program is on PATH."""
        return shutil.which("rabbitmq-server") is not None

    @property
    def url(self) -> str:
        """The address of the virtual host that is always there."""
        return self.virtual_host_url("/")

    def virtual_host_url(self, name: str) -> str:
        """Return the address of a virtual host."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{quote(name, safe='')}"

    def make_virtual_host(self) -> str:
        """Return the address of an empty virtual host that nobody has used."""
        if not self._unused_hosts:
            self._unused_hosts = [f"test_{uuid.uuid4().hex}" for _ in range(_HOSTS_AT_ONCE)]
            self.control("eval", ", ".join(map(_make_host, self._unused_hosts)) + ".")
        return self.virtual_host_url(self._unused_hosts.pop())

    def control(self, *arguments: str) -> str:
        """Run rabbitmqctl and return what it prints; it takes about two seconds."""
        done = subprocess.run(
            [_rabbit_program("rabbitmqctl"), "-q", "-n", self._node, *arguments],
            check=True,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self._environment(),
            timeout=self._patience,
        )
        return done.stdout

    @override
    def start(self) -> None:
        self._mapper.start()
        super().start()

    @override
    def _end(self, number: signal.Signals) -> None:
        super()._end(number)
        self._mapper.stop()

    @property
    def _node(self) -> str:
        return f"test{self.port}@localhost"

    def _prepare(self) -> None:
        super()._prepare()
        lines = [f"listeners.tcp.1 = 127.0.0.1:{self.port}", "disk_free_limit.absolute = 1MB"]
        (self.folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self.folder / "enabled_plugins").write_text("[].\n")

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "HOME": str(self.folder),  # where the cookie is
            "ERL_EPMD_PORT": str(self._mapper.port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1",
            # Its script then becomes the server, instead of starting one that signals do not reach.
            "detached": "yes",
        }

    def _command(self) -> list[str]:
        return [_rabbit_program("rabbitmq-server")]

    def _answers(self) -> bool:
        try:
            with amqp.Connection(f"127.0.0.1:{self.port}", connect_timeout=1, read_timeout=PATIENCE):
                return True
        except OSError:
            return False


def _make_host(name: str) -> str:
    """Return the Erlang expressions that make a virtual host and let everybody in."""
    return (
        f'ok = rabbit_vhost:add(<<"{name}">>, <<"test">>), '
        f'ok = rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<"{name}">>, '
        '<<".*">>, <<".*">>, <<".*">>, <<"test">>)'
    )


def _rabbit_program(name: str) -> str:
    # Debian has a wrapper on PATH, which only root may run and which changes the user and the folder.
    unwrapped = Path("/usr/lib/rabbitmq/bin") / name
    return str(unwrapped) if unwrapped.exists() else program(name)
