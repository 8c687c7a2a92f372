"""A place to measure in: a scratch folder with Redis, a sink, a delivery log, and processes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.acceptance.terminal import Terminal
from tests.benchmarks.sink import sink
from tests.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

PROCESSES = 2
PATIENCE = 300.0


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table."""

    name: str
    ours: str
    other: str
    ratio: float
    bar: str
    is_met: bool


def at_least(name: str, ours: float, other: float, bar: float) -> Figure:
    """Return a figure that has to be so many times the other, such as emails a second."""
    ratio = ours / other
    return Figure(
        name=name,
        ours=f"{ours:.0f}",
        other=f"{other:.0f}",
        ratio=ratio,
        bar=f">= {bar:g}",
        is_met=ratio >= bar,
    )


def at_most(name: str, ours: float, other: float, bar: float, *, scale: float = 1000) -> Figure:
    """Return a figure that may be so many times the other at most: seconds, shown as milliseconds.

    Args:
        scale: what both are shown times.
    """
    ratio = ours / other
    return Figure(
        name=name,
        ours=f"{ours * scale:.1f}",
        other=f"{other * scale:.1f}",
        ratio=ratio,
        bar=f"<= {bar:g}",
        is_met=ratio <= bar,
    )


class Bench:
    """Starts what is measured, and ends it.

    Args:
        folder: scratch.
        log_url: of the delivery log; None for SQLite.
        smtp_port: of a mail server that is there; None starts a sink.
        settings: further settings.
    """

    def __init__(
        self,
        folder: Path,
        *,
        log_url: str | None = None,
        smtp_port: int | None = None,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.folder = folder
        self._settings = settings
        self._log_url = log_url
        self._smtp_port = smtp_port
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        work = self.folder / "work"
        work.mkdir(parents=True)
        self.redis = self._stack.enter_context(RedisServer(self.folder / "redis"))
        self.port = self._smtp_port or self._stack.enter_context(sink())
        self.terminal = self._stack.enter_context(Terminal(work))
        self.terminal.set(
            DEBUG="False",
            REDIS_URL=self.redis.url,
            SECRET_KEY="a-benchmark-secret-key-of-some-length",
            FRONTEND_URL="https://shop.example",
            EMAIL_ENABLED="True",
            EMAIL_HOST="127.0.0.1",
            EMAIL_PORT=self.port,
            EMAIL_TLS="none",
            MAILCTL_HOME=work / ".mailctl",
            **self._settings,
        )
        if self._log_url:
            self.terminal.set(MAILCTL_DATABASE_URL=self._log_url)
        self.runtime = Runtime(Settings.load(work / ".env"))
        self._stack.callback(self.runtime.close)
        self.enqueuer = Enqueuer(self.runtime)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def python(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a Python process of the project."""
        return subprocess.Popen(
            [sys.executable, *arguments],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )


def wait_until(condition: Callable[[], bool], *, every: float = 0.1) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the benchmark does not come to an end")
        time.sleep(every)


def median(measure: Callable[[], float], *, rounds: int) -> float:
    """Return the median of some measurements."""
    return statistics.median(measure() for _ in range(rounds))
