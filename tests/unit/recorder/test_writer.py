"""The writer: entries in order, again after a failure, and repeated; the state of the log is told once."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from mailctl import runtime
from mailctl.errors import LogUnavailable
from mailctl.recorder import writer
from mailctl.recorder.writer import LogHealth, LogWriter
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailctl.runtime import Runtime

PATIENCE = 60


@pytest.fixture(autouse=True)
def open_log(tmp_path: Path) -> Iterator[None]:
    """Entries get the runtime of a delivery log that exists."""
    runtime.configure(Settings(mailctl_home=tmp_path))
    runtime.current()
    yield
    runtime.close()


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that failed is asked again at once."""
    monkeypatch.setattr(writer, "BACKOFF_SECONDS", 0.0)


@pytest.fixture
def writing(open_log: None) -> Iterator[LogWriter]:
    """A writer that ends with the test."""
    made = LogWriter(LogHealth())
    yield made
    made.close()


def test_entries_run_in_order(writing: LogWriter) -> None:
    """In one thread; the end of the process waits for them."""
    written: list[int] = []
    for number in range(100):
        writing.put(lambda _, number=number: written.append(number))  # type: ignore[misc]
    writing.flush()
    assert written == list(range(100))


@pytest.mark.usefixtures("no_backoff")
def test_an_entry_that_finds_the_log_down_is_tried_again(writing: LogWriter) -> None:
    """Before those that came after it."""
    written: list[str] = []

    def first(_: Runtime) -> None:
        written.append("first")
        if written.count("first") < 3:
            raise LogUnavailable("down")

    done = threading.Event()
    writing.put(first)
    writing.put(lambda _: (written.append("second"), done.set()))
    assert done.wait(PATIENCE)
    assert written == ["first", "first", "first", "second"]


def test_a_fault_of_one_entry_does_not_stop_the_others(
    writing: LogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would fail again."""
    monkeypatch.setattr(writer, "BACKOFF_SECONDS", 0.0)
    done = threading.Event()
    writing.put(lambda _: 1 / 0)
    writing.put(lambda _: done.set())
    assert done.wait(PATIENCE)


def test_the_end_of_the_process_does_not_wait_for_a_log_that_is_down(
    writing: LogWriter,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What is lost is counted."""

    def fail(_: Runtime) -> None:
        raise LogUnavailable("down")

    for _ in range(3):
        writing.put(fail)
    writing.flush()
    assert "3 changes of emails of the service's own tasks could not be recorded" in caplog.text


def test_an_entry_is_repeated_although_the_writer_was_idle(writing: LogWriter) -> None:
    """Such as the extension of leases."""
    writing.put(lambda _: None)
    writing.flush()
    seen, done = [], threading.Event()

    def entry(_: Runtime) -> None:
        seen.append(1)
        if len(seen) == 3:
            done.set()

    writing.repeat(entry, every_seconds=0.001)
    writing.repeat(entry, every_seconds=0.001)
    assert done.wait(PATIENCE)
    assert len(writing._periodic) == 1
    writing._periodic.clear()


def test_the_last_entries_run_at_the_end(writing: LogWriter) -> None:
    """Such as calls that were not published."""
    written: list[str] = []

    def last(_: Runtime) -> None:
        written.append("last")

    writing.before_exit(last)
    writing.before_exit(last)
    writing.put(lambda _: written.append("first"))
    writing.flush()
    assert written == ["first", "last"]


def test_the_state_of_the_log_is_told_when_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    """Not once for each email."""
    health = LogHealth()
    with caplog.at_level(logging.INFO, logger="mailctl.recorder"):
        for _ in range(5):
            with health.tolerating():
                raise LogUnavailable("down")
        assert health.is_backing_off
        for _ in range(5):
            with health.tolerating():
                pass
    assert not health.is_backing_off
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


#: The writer is in the middle of an entry when the main thread forks; the child says whether it had finished.
_FORK = """
import os, threading
from mailctl import runtime
from mailctl.recorder.writer import LogHealth, LogWriter
from mailctl.settings import Settings

runtime.configure(Settings(mailctl_home=os.getcwd()))
begun, is_forking, finished = threading.Event(), threading.Event(), []

def entry(_):
    begun.set()
    is_forking.wait()
    finished.append(True)

writing = LogWriter(LogHealth())
os.register_at_fork(before=is_forking.set)
writing.put(entry)
begun.wait()
child = os.fork()
if child == 0:
    os._exit(0 if finished else 1)
_, status = os.waitpid(child, 0)
print("finished" if status == 0 else "in the middle")
"""


def test_a_fork_waits_for_the_end_of_an_entry(tmp_path: Path) -> None:
    """The child would wait forever for the locks of the writer, such as those of modules it was importing."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _FORK]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "finished"
