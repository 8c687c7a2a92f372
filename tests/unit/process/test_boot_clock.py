"""A clock that two processes of a host can compare."""

from __future__ import annotations

import subprocess
import sys

from mailctl.process.boot_clock import boottime


def test_processes_of_a_host_share_the_clock() -> None:
    """Its origin is the start of the host, not that of the process."""
    before = boottime()
    code = "from mailctl.process.boot_clock import boottime; print(boottime())"
    other = float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert before <= other <= boottime()
