"""Memory of a worker's whole process tree."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from mailctl.domain.catalog import WELCOME
from mailctl.domain.recipient_list import RecipientRow
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.campaign import CampaignRecorder
from tests.benchmarks.bench import PATIENCE, PROCESSES, Bench, Figure, at_most, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

WARM_UP = 2_000
MANY = 1_000_000
_SETTLE_SECONDS = 3.0
#: Emails a second, on the slowest computer.
_LEAST_PER_SECOND = 200


def workers(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """A worker that has sent emails, against a bare one with FastAPI-Mail; then a million emails more."""
    with Bench(folder) as bench:
        environment = {"NAIVE_REDIS": bench.redis.url, "NAIVE_PORT": "0", "NAIVE_TEMPLATES": str(folder)}
        options = ("-c", str(PROCESSES), "-l", "ERROR", "--without-gossip", "--without-mingle")
        naive = ("-m", "celery", "-A", "tests.benchmarks.naive", "worker", *options)
        bare = bench.python(*naive, **environment)
        wait_until(lambda: len(_tree(bare.pid)) > PROCESSES)
        time.sleep(_SETTLE_SECONDS)
        other = _megabytes(bare.pid)
        bare.terminate()
        bare.wait()
        worker = bench.terminal.worker("-c", str(PROCESSES))
        _send(bench, WARM_UP)
        ours = _megabytes(worker.process.pid)
        yield at_most("worker, 2 processes, MB (other: bare Celery)", ours, other, 1.2, scale=1)
        _send(bench, MANY)
        later = _megabytes(worker.process.pid)
        yield at_most(f"after {MANY:,} emails, MB (other: before)", later, ours, 1.05, scale=1)
        worker.stop()


def _send(bench: Bench, count: int) -> None:
    sent = bench.runtime.history.count_by_state().get(State.SENT, 0)
    rows = [RecipientRow(line=n, email=f"user{n}@example.com", name="Ada") for n in range(count)]
    for _ in CampaignRecorder(bench.runtime, EmailRequest(campaign=f"bench-{count}", kind=WELCOME)).record(
        rows
    ):
        pass
    wait_until(
        lambda: bench.runtime.history.count_by_state().get(State.SENT, 0) >= sent + count,
        every=0.5,
        patience=PATIENCE + count / _LEAST_PER_SECOND,
    )
    time.sleep(_SETTLE_SECONDS)


def _megabytes(pid: int) -> float:
    """Return what a process and its descendants hold; pages that they share count once (PSS)."""
    total = 0
    for each in _tree(pid):
        for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def _tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _tree(int(child)))]
