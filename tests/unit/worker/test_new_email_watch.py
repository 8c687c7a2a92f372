"""The watch over new emails, on logs in SQLite."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from mailctl.worker.new_email_watch import NewEmailWatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

#: Longer than any test may take: only what is awaited ends such a wait.
FOR_EVER = 3600.0


class Site:
    """A watch on a log, and how often it has asked for new emails; `answers` has the next answers."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.stopped = threading.Event()
        self.asked = threading.Semaphore(0)
        self.answers: list[bool] = []
        self.watch = NewEmailWatch(engine, stopped=self.stopped, has_new=self._has_new)

    def _has_new(self) -> bool:
        self.asked.release()
        return self.answers.pop(0)

    def write(self) -> None:
        """Write to the log."""
        with self.engine.begin() as connection:
            connection.execute(text("INSERT INTO mailctl_log (id) VALUES (lower(hex(randomblob(16))))"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A watch on a new log in a file."""
    with closing(Runtime(Settings(mailctl_home=tmp_path), access_mode=AccessMode.CREATE)) as runtime:
        made = Site(runtime.engine)
        yield made
        made.watch.close()


def test_it_waits_for_new_emails_and_not_for_other_changes(site: Site) -> None:
    """It asks once for each change; a log that nobody writes to is not asked."""
    assert site.watch.start()
    site.answers = [False, False, True]
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(site.watch.wait, FOR_EVER)
        for _ in range(3):
            site.asked.acquire()
            site.write()
        assert waiting.result()
    assert site.answers == []


def test_a_wait_ends_with_the_time_or_with_the_relay(site: Site) -> None:
    """Neither needs a change."""
    site.answers = [False]
    assert not site.watch.wait(0.001)
    site.stopped.set()
    assert not site.watch.wait(FOR_EVER)
    assert site.answers == []
