"""PerProcess: one value per process, also with threads and forks."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from mailctl.process.per_process import PerProcess

#: A thread of the parent holds the lock, inside `make`, while the main thread forks.
_FORK_WHILE_MAKING = """
import os, threading
from mailctl.process.per_process import PerProcess

pids, is_making, is_forked = PerProcess(), threading.Event(), threading.Event()

def make():
    is_making.set()
    is_forked.wait()
    return os.getpid()

thread = threading.Thread(target=pids.get, args=(make,))
thread.start()
is_making.wait()
child = os.fork()
if child == 0:
    is_own = pids.get(os.getpid) == os.getpid() and pids.pop() == os.getpid() and pids.peek() is None
    os._exit(0 if is_own else 1)
_, status = os.waitpid(child, 0)
is_forked.set()
thread.join()
print("child:", status, "parent:", pids.peek() == os.getpid())
"""


def test_the_value_is_made_once() -> None:
    """The first call makes the value, and later calls return the same object."""
    values = PerProcess[object]()
    first = values.get(object)
    assert values.get(object) is first
    assert values.peek() is first


def test_peeking_makes_nothing() -> None:
    """Before the first call there is no value to see or to remove."""
    values = PerProcess[object]()
    assert values.peek() is None
    assert values.pop() is None


def test_a_removed_value_is_made_anew() -> None:
    """`pop` returns the value, and the next call makes a new one."""
    values = PerProcess[object]()
    first = values.get(object)
    assert values.pop() is first
    assert values.peek() is None
    assert values.get(object) is not first


def test_an_unusable_value_is_replaced() -> None:
    """The caller decides whether the existing value may be returned."""
    values = PerProcess[str]()
    assert values.get(lambda: "old") == "old"
    assert values.get(lambda: "new", is_usable=lambda value: value != "old") == "new"
    assert values.get(lambda: "newer", is_usable=lambda value: value != "old") == "new"


def test_a_failed_making_is_tried_again() -> None:
    """The error reaches the caller, and the next call makes the value."""
    values = PerProcess[float]()
    with pytest.raises(ZeroDivisionError):
        values.get(lambda: 1 / 0)
    assert values.peek() is None
    assert values.get(lambda: 1 / 1) == 1


def test_threads_share_one_value() -> None:
    """Of threads that ask at the same moment, one makes the value, and all get it."""
    values, made, got = PerProcess[object](), list[object](), list[object]()
    barrier = threading.Barrier(8)

    def make() -> object:
        made.append(object())
        return made[-1]

    def ask() -> None:
        barrier.wait()
        got.append(values.get(make))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == made * 8


def test_a_forked_child_makes_its_own_value() -> None:
    """A child does not see the value of its parent, nor wait for a lock that a thread of its parent holds."""
    # Forking beside a thread is what a newer Python warns of, and what Celery does.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _FORK_WHILE_MAKING]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "child: 0 parent: True"
