"""Runs several mailctl commands in one process.

Standard input has a JSON list of commands, each a list of arguments; standard output gets one JSON object for
each: its exit code, the objects that it printed, and its messages.
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from mailctl import runtime
from mailctl.cli.main import main


def run(arguments: list[str]) -> dict[str, Any]:
    """Run one command; return its exit code, the objects that it printed, and its messages."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main((*arguments, "--json"))
    finally:
        runtime.close()
    objects = [json.loads(line) for line in out.getvalue().splitlines()]
    return {"code": code, "objects": objects, "messages": err.getvalue()}


def run_all() -> None:
    """Run the commands of standard input."""
    for command in json.load(sys.stdin):
        print(json.dumps(run(command)), flush=True)
