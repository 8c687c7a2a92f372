"""Commands in processes that are forked from one that has imported mailctl already: a new one costs more."""

from __future__ import annotations

import atexit
import fcntl
import gc
import io
import multiprocessing
import os
import signal
import sys
import termios
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

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
    "mailctl.worker.foreign.step",
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


@dataclass(frozen=True, kw_only=True)
class Start:
    """How a command is started.

    Its files 0, 1 and 2 are a terminal, or files by their names; one that has no name is closed. What runs is
    MODULE:FUNCTION.
    """

    arguments: tuple[str, ...]
    folder: str
    environment: dict[str, str]
    files: tuple[str | None, str | None, str | None]
    is_on_terminal: bool = False
    entry: str = "mailctl.cli.main:run"

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
        self._process = _context().Process(target=_run, args=(start,), daemon=True)
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


@cache
def _context() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


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
    buffer: Any = io.BufferedReader(raw) if number == 0 else io.BufferedWriter(raw)
    is_interactive = number == 2 or raw.isatty()
    return io.TextIOWrapper(buffer, encoding=encoding, errors=errors, line_buffering=is_interactive)
