"""The memory of a process that holds keys goes into no file."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: What a process of a pool, forked by a worker, may do.
PROGRAM = """
import ctypes, os, resource
from mailctl.process.memory_protection import forbid_memory_dumps
forbid_memory_dumps()
if os.fork() == 0:
    print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
else:
    os.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
def test_neither_a_worker_nor_its_pool_can_be_dumped() -> None:
    """By a crash, or by another process of the same user."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "(0, 0) 0\n"
