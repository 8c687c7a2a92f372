"""How long a command takes that does next to nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.benchmarks.bench import Bench, Figure, at_most, median

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_IMPORTS = ("-c", "import typer, rich.console")
_APP = """
from celery import Celery
app = Celery("plain", broker={url!r}, backend={url!r})
"""


def commands(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """`--help` against importing Typer and Rich, `status` against Celery's own `result`."""
    with Bench(folder) as bench:
        work = bench.terminal.folder
        worker = bench.terminal.worker("-c", "1")
        task_id = bench.terminal.send("welcome", "--email", "ada@example.com", "--wait")
        worker.stop()
        (work / "plain.py").write_text(_APP.format(url=bench.redis.url))

        def seconds(*arguments: str) -> float:
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], cwd=work, capture_output=True, check=True)
            return time.perf_counter() - started

        mailctl, celery = ("-m", "mailctl"), ("-m", "celery", "-A", "plain")
        for arguments in ((*mailctl, "--help"), _IMPORTS):
            seconds(*arguments)
        help_seconds = median(lambda: seconds(*mailctl, "--help"), rounds=rounds)
        import_seconds = median(lambda: seconds(*_IMPORTS), rounds=rounds)
        status_seconds = median(lambda: seconds(*mailctl, "status", task_id), rounds=rounds)
        result_seconds = median(lambda: seconds(*celery, "result", task_id), rounds=rounds)
    yield at_most("mailctl --help, ms (other: import typer, rich)", help_seconds, import_seconds, 1.6)
    yield at_most("mailctl status, ms (other: celery result)", status_seconds, result_seconds, 1.0)
