"""Processes that are forked by one that uses a delivery log in SQLite, such as those of a pool."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_OPENED = """
import os, sys
import sqlalchemy
from mailctl.delivery_log.storage.change_detector import ChangeDetector
from mailctl.delivery_log.storage.engine import open_engine, reading, writing

url = sqlalchemy.make_url(f"sqlite:///{sys.argv[1]}")
engine = open_engine(url, setting="log")

def write(value):
    with writing(engine) as connection:
        connection.exec_driver_sql(f"INSERT INTO noted VALUES ({value})")

def noted():
    with reading(engine) as connection:
        return [row[0] for row in connection.exec_driver_sql("SELECT value FROM noted ORDER BY value")]

with writing(engine) as connection:
    connection.exec_driver_sql("CREATE TABLE noted (value INTEGER)")
"""
#: The parent closes its connections while the child writes; the last one to close deletes the -wal file.
_AFTER_THE_PARENT = """
detector = ChangeDetector(engine)
detector.mark_seen()
(reader, writer), (heard, told) = os.pipe(), os.pipe()
if (child := os.fork()) == 0:
    engine = open_engine(url, setting="log")
    write(1)
    os.write(writer, b".")
    os.read(heard, 1)
    write(2)
    os._exit(0)
os.read(reader, 1)
print(detector.may_have_changed())
detector.close()
engine.dispose()
os.write(told, b".")
os.waitpid(child, 0)
print(noted())
"""


def run(script: str, path: Path) -> list[str]:
    """Run a script with a delivery log; return what it prints."""
    # Forking beside a thread is what a newer Python warns of, and what Celery does.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _OPENED + script, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_what_a_forked_process_commits_outlasts_its_parent(tmp_path: Path) -> None:
    """The parent's connections end first, as when its main process is killed."""
    assert run(_AFTER_THE_PARENT, tmp_path / "log.db") == ["True", "[1, 2]"]
