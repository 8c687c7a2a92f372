"""Programs in processes that are forked from one that has imported it already: a new one costs more."""

from __future__ import annotations

import atexit
import fcntl
import gc
import io
import multiprocessing
import os
import runpy
import signal
import sys
import termios
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from multiprocessing import forkserver
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: What most commands and workers import, with all that these import in their turn.
PRELOADED = [
    "mailctl.cli.main",
    "mailctl.cli.send_single",
    "mailctl.cli.commands.send",
    "mailctl.cli.commands.worker",
    "mailctl.cli.terminal.interrupts",
    "mailctl.cli.terminal.table",
    "mailctl.cli.terminal.tabular",
    "mailctl.checks.run_checks",
    "mailctl.delivery_log.rollup",
    "mailctl.delivery_log.storage.new_schema",
    "mailctl.enqueue.campaign",
    "mailctl.enqueue.send_service",
    "mailctl.monitoring.incident.report",
    "mailctl.monitoring.queues",
    "mailctl.monitoring.stats",
    "mailctl.operations.bulk_actions",
    "mailctl.operations.demo",
    "mailctl.operations.identity",
    "mailctl.rendering.senders",
    "mailctl.diagnosis.status",
    "mailctl.smtp.paced_sender",
    "mailctl.smtp.server_pools",
    "mailctl.tasks",
    "mailctl.worker.bootsteps",
    "mailctl.worker.broker_refusals",
    "mailctl.worker.consumer_connection",
    "mailctl.worker.consumer_guards",
    "mailctl.worker.foreign_messages.step",
    "mailctl.worker.message_strategy",
    "mailctl.worker.message_validation.amqp_frames",
    "mailctl.worker.redis_heartbeats",
    "mailctl.worker.redis_settlements",
    "mailctl.worker.redis_unacked",
    "mailctl.worker.remote_control.guard",
    "mailctl.worker.run",
    "celery.app.amqp",
    "celery.app.events",
    "celery.app.log",
    "celery.apps.worker",
    "celery.backends.redis",
    "celery.concurrency.prefork",
    "celery.concurrency.thread",
    "celery.events.receiver",
    "celery.fixups.django",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer.delayed_delivery",
    "celery.worker.strategy",
    "cryptography.hazmat.primitives.ciphers.aead",
    "cryptography.hazmat.primitives.kdf.hkdf",
    "kombu.transport.memory",
    "kombu.transport.redis",
    "rich._emoji_codes",
    "rich.live",
    "sqlalchemy.dialects.postgresql",
]
#: What services import beside it.
_OF_SERVICES = [
    "aiosmtplib",
    "aiosqlite",
    "celery.bin.celery",
    "dotenv",
    "fastapi",
    "jinja2",
    "pydantic_settings",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.orm",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.main",
    "uvicorn.protocols.http.auto",
]
#: For programs that may know nothing of mailctl: what it connects to signals of Celery would work in them.
PRELOADED_WITHOUT_MAILCTL = [
    *(name for name in PRELOADED if not name.startswith("mailctl")),
    *_OF_SERVICES,
]
PRELOADED += [*_OF_SERVICES, "mailctl.web"]
_COMMANDS = Path(__file__).parents[2] / "mailctl" / "cli" / "commands"
#: Each command imports its module, and these what they share.
PRELOADED += [
    *(f"mailctl.cli.commands.{file.stem}" for file in _COMMANDS.glob("[a-z]*.py")),
    "cryptography.hazmat.primitives.hashes",
    "mailctl.cli.action_results",
    "mailctl.cli.action_runner",
    "mailctl.cli.terminal.console",
    "mailctl.operations.bulk_action_ids",
    "typer._adapters",
    "typer._click.decorators",
]


#: The entry of other programs in Python.
PYTHON = "tests.acceptance.forked:run_python"


@dataclass(frozen=True, kw_only=True)
class Start:
    """How a command is started.

    Its files 0, 1 and 2 are a terminal, or files by their names; one that has no name is closed. What runs is
    MODULE:FUNCTION, or with PYTHON what the arguments of Python name.
    """

    arguments: tuple[str, ...]
    folder: str
    environment: dict[str, str]
    files: tuple[str | None, str | None, str | None]
    is_on_terminal: bool = False
    entry: str = "mailctl.cli.main:run"
    #: Whether mailctl may be imported before it starts.
    is_of_mailctl: bool = True

    @classmethod
    def on_terminal(
        cls, terminal: str, arguments: tuple[str, ...], folder: Path, environment: Mapping[str, str]
    ) -> Self:
        """Return the start of a command that has a terminal for itself."""
        return cls(
            arguments=arguments,
            folder=str(folder),
            environment=dict(environment),
            files=(terminal, terminal, terminal),
            is_on_terminal=True,
        )


class Forked:
    """A command in a process of its own, with the methods of a `subprocess.Popen` that tests use."""

    def __init__(self, start: Start) -> None:
        # A daemon: what a failed test has left running ends with the tests.
        self._process = multiprocessing.get_context("forkserver").Process(
            target=_run, args=(start,), daemon=True
        )
        with _forking_from_server(is_of_mailctl=start.is_of_mailctl):
            self._process.start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self._process.exitcode

    def wait(self, seconds: float | None = None) -> int:
        """Wait for the end and return the exit code."""
        self._process.join(seconds)
        assert self._process.exitcode is not None
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()


_TURN = threading.Lock()


@cache
def _server(*, is_of_mailctl: bool) -> forkserver.ForkServer:
    server = forkserver.ForkServer()
    server.set_forkserver_preload(PRELOADED if is_of_mailctl else PRELOADED_WITHOUT_MAILCTL)
    return server


@contextmanager
def _forking_from_server(*, is_of_mailctl: bool) -> Iterator[None]:
    """Fork new processes from one of two servers; multiprocessing itself has one for all."""
    # Threads of a test start commands at once.
    with _TURN:
        server = _server(is_of_mailctl=is_of_mailctl)
        usual = forkserver.connect_to_new_process
        forkserver.connect_to_new_process = server.connect_to_new_process
        try:
            yield
        finally:
            forkserver.connect_to_new_process = usual


def _run(start: Start) -> None:
    # What was imported before lives until the end: garbage collection need not look at it.
    gc.freeze()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if start.is_on_terminal:
        os.setsid()
    _open_files(start)
    os.chdir(start.folder)
    os.environ.clear()
    os.environ.update(start.environment)
    sys.stdin, sys.stdout, sys.stderr = (_stream(number, start) for number in range(3))
    sys.argv = ["mailctl", *start.arguments]
    module, _, function = start.entry.partition(":")

    try:
        getattr(import_module(module), function)()
    finally:
        # A process that was forked ends without them.
        atexit._run_exitfuncs()


def run_python() -> None:
    """Run what arguments of Python name, as it does: `-m MODULE`, `-c CODE`, or a file, each with its own."""
    first, *rest = sys.argv[1:]
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [str(Path.cwd()), *filter(None, folders)]
    if first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), sys.modules["__main__"].__dict__)
    else:
        sys.argv = [first, *rest]
        runpy.run_path(first, run_name="__main__")


def _open_files(start: Start) -> None:
    for number, name in enumerate(start.files):
        os.close(number)
        if name is not None:
            # The lowest number that is free.
            opened = os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            assert opened == number or None in start.files
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
    if start.is_on_terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _stream(number: int, start: Start) -> Any:
    """Return a standard stream as the interpreter opens it: None where its file is closed."""
    if start.files[number] is None:
        return None
    encoding = start.environment.get("PYTHONIOENCODING", "utf-8")
    errors = "backslashreplace" if number == 2 else "strict"
    raw = io.FileIO(number, "rb" if number == 0 else "wb", closefd=False)
    is_unbuffered = number > 0 and "PYTHONUNBUFFERED" in start.environment
    buffer: Any = raw
    if not is_unbuffered:
        buffer = io.BufferedReader(raw) if number == 0 else io.BufferedWriter(raw)
    is_interactive = number == 2 or raw.isatty()
    return io.TextIOWrapper(
        buffer,
        encoding=encoding,
        errors=errors,
        line_buffering=is_interactive,
        write_through=is_unbuffered,
    )
