"""A place to measure in: a scratch folder with Redis, a sink, a delivery log, and processes."""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
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


#: What one side of a figure was in each round, or a single number.
Side = float | Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table."""

    name: str
    ours: str
    other: str
    ratio: float
    bar: str
    is_met: bool
    #: The least and the greatest ratio of the rounds; None if there was but one.
    spread: tuple[float, float] | None = None
    #: What has to be installed to measure this; "" if it was measured.
    missing: str = ""


def at_least(name: str, ours: Side, other: Side, bar: float) -> Figure:
    """Return a figure that has to be so many times the other, such as emails a second.

    Args:
        ours: what mailctl reached in each round.
        other: what the other reached in the same rounds, or one number for all.
        bar: what the median of the ratios of the rounds must be.
    """
    ratios = _ratios(ours, other)
    return Figure(
        name=name,
        ours=f"{_median(ours):.0f}",
        other=f"{_median(other):.0f}",
        ratio=statistics.median(ratios),
        bar=f">= {bar:g}",
        is_met=statistics.median(ratios) >= bar,
        spread=_spread(ratios),
    )


def at_most(name: str, ours: Side, other: Side, bar: float, *, scale: float = 1000) -> Figure:
    """Return a figure that may be so many times the other at most: seconds, shown as milliseconds.

    Args:
        ours: as for `at_least`.
        other: as for `at_least`.
        bar: as for `at_least`.
        scale: what both are shown times.
    """
    ratios = _ratios(ours, other)
    return Figure(
        name=name,
        ours=f"{_median(ours) * scale:.1f}",
        other=f"{_median(other) * scale:.1f}",
        ratio=statistics.median(ratios),
        bar=f"<= {bar:g}",
        is_met=statistics.median(ratios) <= bar,
        spread=_spread(ratios),
    )


def skipped(name: str, missing: str) -> Figure:
    """Return a figure that was not measured.

    Args:
        missing: what has to be installed.
    """
    return Figure(name=name, ours="-", other="-", ratio=math.nan, bar="", is_met=True, missing=missing)


def _ratios(ours: Side, other: Side) -> list[float]:
    """Return the ratios of the rounds; those of pairs if both sides were measured by turns."""
    if isinstance(ours, float | int):
        ours = [ours] * (1 if isinstance(other, float | int) else len(other))
    others = [other] * len(ours) if isinstance(other, float | int) else other
    return [mine / theirs for mine, theirs in zip(ours, others, strict=True)]


def _median(side: Side) -> float:
    return side if isinstance(side, float | int) else statistics.median(side)


def _spread(ratios: Sequence[float]) -> tuple[float, float] | None:
    return (min(ratios), max(ratios)) if len(ratios) > 1 else None


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
        self.terminal = self._stack.enter_context(Terminal(work, forks=False))
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


def wait_until(condition: Callable[[], bool], *, every: float = 0.1, patience: float = PATIENCE) -> None:
    """Wait for a condition, for so many seconds at most."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the benchmark does not come to an end")
        time.sleep(every)


def in_rounds(measure: Callable[[], float], *, rounds: int) -> list[float]:
    """Return what is measured in each round."""
    return [measure() for _ in range(rounds)]


def median(measure: Callable[[], float], *, rounds: int) -> float:
    """Return the median of what is measured in each round."""
    return statistics.median(in_rounds(measure, rounds=rounds))


def rate_of(count: Callable[[], int], begin: Callable[[], int]) -> float:
    """Return a rate in emails a second, from the first one that is sent once all are recorded.

    Args:
        count: returns how many emails are sent.
        begin: records emails for workers, and returns how many.
    """
    done = count()
    total = done + begin()
    wait_until(lambda: count() > done, every=0.02)
    before, started = count(), time.perf_counter()
    wait_until(lambda: count() >= total, every=0.05)
    return (total - before) / (time.perf_counter() - started)
