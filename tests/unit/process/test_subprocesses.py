"""Commands of the operator that hang, print without end or leave processes behind."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from mailctl.process.subprocesses import CommandTooSlow, run_command

PATIENCE = 60.0


def shell(line: str) -> list[str]:
    return ["/bin/sh", "-c", line]


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + PATIENCE
    with suppress(FileNotFoundError, ProcessLookupError):
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_the_output_and_the_exit_code_are_returned() -> None:
    """What it says on stderr is dropped, and it has no input to wait for."""
    given = run_command(shell("cat; echo noise >&2; echo token; exit 3"), seconds=PATIENCE, most_bytes=99)
    assert given == (3, b"token\n")


def test_output_without_end_is_cut_off() -> None:
    """It would fill the memory."""
    assert run_command(["yes"], seconds=PATIENCE, most_bytes=5) == (0, b"y\ny\ny")


def test_a_process_that_keeps_the_output_open_is_not_waited_for(tmp_path: Path) -> None:
    """Such as an agent that a command starts, which lives on."""
    line = f"sleep 600 & echo $! > {tmp_path}/pid; echo token"
    assert run_command(shell(line), seconds=PATIENCE, most_bytes=99) == (0, b"token\n")
    os.kill(int((tmp_path / "pid").read_text()), 9)


def test_a_command_that_hangs_is_killed_with_its_processes(tmp_path: Path) -> None:
    """None of them is left behind."""
    line = f"sleep 600 & echo $! > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; wait"
    for seconds in (0.5, 2, 8, 32):  # a slow machine may not have come to the second process
        with pytest.raises(CommandTooSlow):
            run_command(shell(line), seconds=seconds, most_bytes=99)
        if (tmp_path / "pid").exists():
            break
    wait_until_gone(int((tmp_path / "pid").read_text()))
