"""A script in a process that is forked from one that has imported mailctl: a new one costs ten times that."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from tests.acceptance.forked import Forked, Start

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds that a script may take, however slow the computer is.
PATIENCE = 240


def run_script(source: str, *, folder: Path, environment: Mapping[str, str]) -> str:
    """Run a script, which must succeed, and return what it has printed; its RuntimeWarnings are errors."""
    with tempfile.TemporaryDirectory() as scratch:
        out, err = Path(scratch, "out"), Path(scratch, "err")
        start = Start(
            arguments=(source,),
            folder=str(folder),
            environment=dict(environment),
            files=(os.devnull, str(out), str(err)),
            entry=f"{__name__}:_execute",
        )
        code = Forked(start).wait(PATIENCE)
        assert code == 0, err.read_text()
        return out.read_text()


def _execute() -> None:
    warnings.simplefilter("error", RuntimeWarning)
    exec(compile(sys.argv[1], "script", "exec"), {"__name__": "__main__"})
