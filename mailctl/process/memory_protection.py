"""Keeps the memory of a process that holds SECRET_KEY and contents out of files and other processes."""

from __future__ import annotations

import ctypes
import sys

#: `prctl(2)`: whether the process may be dumped, and traced by other processes of its user.
_PR_SET_DUMPABLE = 4


def forbid_memory_dumps() -> None:
    """Let neither a crash write a core dump, nor another process of this user read the memory.

    Processes that this one forks inherit both. What the system forbids or does not know is left out.
    """
    try:
        import resource
    except ImportError:
        return  # not a Unix
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
