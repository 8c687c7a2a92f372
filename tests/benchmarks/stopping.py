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
from tests.benchmarks.bench import Figure, at_most, median

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT = 40_000


def hold(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """`mailctl hold` with a filter, against recording as many emails, by turns."""
    recording: list[float] = []

    def hold_recorded() -> float:
        home = folder / str(len(recording))
        recording.append(_record(home))
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

    holding = median(hold_recorded, rounds=rounds)
    others = sorted(recording)
    yield at_most(f"hold {COUNT:,}, ms (other: record them)", holding, others[len(others) // 2], 1.5)


def _record(home: Path) -> float:
    runtime = Runtime(Settings(mailctl_home=home))
    rows = (RecipientRow(line=number, email=f"user{number}@example.com") for number in range(COUNT))
    started = time.perf_counter()
    for _ in CampaignRecorder(runtime, EmailRequest(kind=WELCOME, campaign="spring")).record(rows):
        pass
    seconds = time.perf_counter() - started
    runtime.close()
    return seconds
