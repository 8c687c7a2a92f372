"""How long a command takes that does next to nothing."""

from __future__ import annotations

import compileall
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import mailctl
from tests.benchmarks.bench import Bench, Figure, at_most

if TYPE_CHECKING:
    from collections.abc import Iterator

_IMPORTS = ("-c", "import typer, rich.console")
#: Seconds that `workers` and `check-config` may take; Celery's own `inspect` waits for a second.
_LONGEST_SECONDS = 0.8
_APP = """
from celery import Celery
app = Celery("plain", broker={url!r}, backend={url!r})
"""


def commands(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """`--help` against importing Typer and Rich, `status` against Celery's own `result`.

    `send`, of which a living worker publishes the email, is compared with `status`.
    """
    # As an installer does for what it installs, Celery here; a checkout may be where Python must not write.
    compileall.compile_dir(Path(mailctl.__file__).parent, quiet=1)
    with Bench(folder) as bench:
        work = bench.terminal.folder
        bench.terminal.worker("-c", "1")
        task_id = bench.terminal.send("welcome", "--email", "ada@example.com", "--wait")
        (work / "plain.py").write_text(_APP.format(url=bench.redis.url))

        def seconds(*arguments: str) -> float:
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], cwd=work, capture_output=True, check=False)
            return time.perf_counter() - started

        ours = ("-m", "mailctl")
        sides = (
            (*ours, "--help"),
            _IMPORTS,
            (*ours, "status", task_id),
            ("-m", "celery", "-A", "plain", "result", task_id),
            (*ours, "send", "welcome", "--email", "ada@example.com"),
            (*ours, "workers"),
            (*ours, "check-config"),
        )
        # By turns, because the machine's speed changes; the first turn only fills the disk's cache.
        turns = [[seconds(*each) for each in sides] for _ in range(rounds + 1)][1:]
    help_seconds, import_seconds, status, result, send, workers, check = zip(*turns, strict=True)
    yield at_most("mailctl --help, ms (other: import typer, rich)", help_seconds, import_seconds, 1.6)
    yield at_most("mailctl status, ms (other: celery result)", status, result, 1.0)
    yield at_most("mailctl send, ms (other: mailctl status)", send, status, 1.2)
    yield at_most("mailctl workers, ms (other: the bar)", workers, _LONGEST_SECONDS, 1.0)
    yield at_most("mailctl check-config, ms (other: the bar)", check, _LONGEST_SECONDS, 1.0)
