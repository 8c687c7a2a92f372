"""Which processes of a worker may be sending."""

from __future__ import annotations

import os
import subprocess
import sys

from mailctl.worker.pool_watch import PoolWatch, is_process_gone


def test_whoever_has_gone_is_not_alive() -> None:
    """Others are, and so is the main process, in which a pool of threads sends."""
    listed, gone = [1, 2], set[int]()
    watch = PoolWatch(lambda: listed, is_gone=lambda pid: pid in gone)
    assert watch.list_alive() >= {1, 2, os.getpid()}
    listed[:] = [2, 3]
    gone.add(1)
    assert watch.list_alive() & {1, 2, 3} == {2, 3}


def test_a_process_that_left_the_pool_and_still_runs_may_be_sending() -> None:
    """It has been asked to end, and finishes what it has begun."""
    listed = [1]
    watch = PoolWatch(lambda: listed, is_gone=lambda _: False)
    watch.list_alive()
    listed.clear()
    assert 1 in watch.list_alive()


def test_a_process_that_is_not_listed_yet_is_alive() -> None:
    """The system knows it before the pool does."""
    watch = PoolWatch(tuple)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert process.pid in watch.list_alive()
        process.communicate(b"\n")
    assert process.pid not in watch.list_alive()


def test_a_process_is_gone_when_its_parent_has_noticed() -> None:
    """Its id is its own until then."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert not is_process_gone(process.pid)
    process.kill()
    assert not is_process_gone(process.pid)
    process.communicate()
    assert is_process_gone(process.pid)
    assert not is_process_gone(os.getpid())
