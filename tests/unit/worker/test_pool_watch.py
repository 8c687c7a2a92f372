"""Processes of the pool that are gone are found, and nothing else is taken for one."""

from __future__ import annotations

import os
import subprocess
import sys

from mailctl.worker.pool_watch import PoolWatch, is_process_gone


def test_a_process_that_is_gone_is_found_until_it_is_forgotten() -> None:
    """The log may not answer at the first look; another process may get the same id later."""
    listed, gone = [1, 2], set[int]()
    watch = PoolWatch(lambda: listed, is_gone=lambda pid: pid in gone)
    assert watch.find_gone() == frozenset()
    listed[:] = [2, 3]
    gone.add(1)
    assert watch.find_gone() == watch.find_gone() == {1}
    watch.forget({1})
    assert watch.find_gone() == frozenset()


def test_a_process_that_left_the_pool_and_still_runs_may_be_sending() -> None:
    """It has been asked to end, and finishes what it has begun."""
    listed = [1]
    watch = PoolWatch(lambda: listed, is_gone=lambda _: False)
    watch.find_gone()
    listed.clear()
    assert watch.find_gone() == frozenset()


def test_a_process_is_gone_when_its_parent_has_noticed() -> None:
    """Its id is its own until then."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert not is_process_gone(process.pid)
    process.kill()
    assert not is_process_gone(process.pid)
    process.communicate()
    assert is_process_gone(process.pid)
    assert not is_process_gone(os.getpid())
