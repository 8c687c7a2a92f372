"""What it takes to stop many emails that a filter finds."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from mailctl.domain.catalog import WELCOME
from mailctl.domain.recipient_list import RecipientRow
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.campaign import CampaignRecorder
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.benchmarks.bench import Figure, at_most

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT = 40_000
_LONGEST_SECONDS = 1.5


def hold(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """`mailctl hold` with a filter."""

    def hold_recorded(home: Path) -> float:
        _record(home)
        words = ("-m", "mailctl", "hold", "--kind", "welcome", "--yes")
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, *words],
            cwd=home,
            env={"MAILCTL_HOME": str(home)},
            capture_output=True,
            check=True,
        )
        return time.perf_counter() - started

    seconds = [hold_recorded(folder / str(number)) for number in range(rounds)]
    yield at_most(f"hold {COUNT:,}, ms (other: the bar)", seconds, _LONGEST_SECONDS, 1.0)


def _record(home: Path) -> None:
    runtime = Runtime(Settings(mailctl_home=home))
    rows = (RecipientRow(line=number, email=f"user{number}@example.com") for number in range(COUNT))
    for _ in CampaignRecorder(runtime, EmailRequest(kind=WELCOME, campaign="spring")).record(rows):
        pass
    runtime.close()
