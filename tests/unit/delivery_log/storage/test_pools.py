"""Connections are closed with their engine, and none to SQLite is carried into a forked process."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.engine import make_url

from mailctl.delivery_log.storage.sqlite import open_writer

if TYPE_CHECKING:
    from pathlib import Path

#: The main thread forks while another writes; the child says which files of the log it inherited, and writes.
_SCRIPT = """
import os, sys, threading
from pathlib import Path
from mailctl.delivery_log.storage import engine as engines, sqlite
from mailctl.delivery_log.storage.change_detector import ChangeDetector
from mailctl.delivery_log.storage.engine import reading, writing
from sqlalchemy.engine import make_url

sqlite.BUSY_TIMEOUT_SECONDS = 1
path = Path(sys.argv[1])
url = make_url(f"sqlite:///{path}")
writer, reader = sqlite.open_writer(url), sqlite.open_log_reader(url)
with writing(writer) as connection:
    connection.exec_driver_sql("CREATE TABLE t (author TEXT)")
with reading(reader) as connection:
    connection.exec_driver_sql("SELECT 1 FROM t")
detector = ChangeDetector(writer)
detector.mark_seen()
has_begun, is_forking = threading.Event(), threading.Event()
os.register_at_fork(before=is_forking.set)

def write():
    with writing(writer) as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES ('parent')")
        has_begun.set()
        is_forking.wait()

thread = threading.Thread(target=write)
thread.start()
has_begun.wait()
child = os.fork()
if child == 0:
    inherited = [os.readlink(each) for each in Path("/proc/self/fd").glob("*") if each.exists()]
    print("inherited:", [each for each in inherited if each.startswith(str(path))])
    with writing(sqlite.open_writer(url)) as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES ('child')")
    sys.stdout.flush()
    os._exit(0)
_, status = os.waitpid(child, 0)
thread.join()
print("status:", status, "changed:", detector.has_changed())
with reading(writer) as connection:
    print("authors:", connection.exec_driver_sql("SELECT author FROM t").scalars().all())
detector.close()
"""


def test_a_forked_process_writes_to_the_log_that_its_parent_was_writing_to(tmp_path: Path) -> None:
    """A process of a pool may take the place of a dead one at any time, such as while the relay writes."""
    # Forking beside a thread is what a newer Python warns of, and what Celery does.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _SCRIPT, str(tmp_path / "log.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [
        "inherited: []",
        "status: 0 changed: True",
        "authors: ['parent', 'child']",
    ], done.stderr


def test_a_connection_returned_after_its_engine_was_disposed_of_is_closed(tmp_path: Path) -> None:
    """A thread that was abandoned at a deadline may have it until later."""
    engine = open_writer(make_url(f"sqlite:///{tmp_path / 'log.db'}"))
    abandoned, later = engine.raw_connection(), engine.raw_connection()
    driver = abandoned.driver_connection
    later.close()
    engine.dispose()
    abandoned.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        driver.execute("SELECT 1")
