"""A log in a folder that this user may not write."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.opening import open_delivery_log
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.errors import LogUnavailable
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def as_another_user() -> Iterator[None]:
    """As somebody who may read the files of this one; root may write everything."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.fixture
def readable() -> Iterator[Settings]:
    """A log in a folder that others may read, and in which they may create nothing."""
    folder = Path(tempfile.mkdtemp(prefix="mailctl-readable-"))
    settings = Settings(mailctl_home=folder)
    open_delivery_log(settings, AccessMode.CREATE).dispose()
    folder.chmod(0o555)
    (folder / "mailctl.db").chmod(0o644)
    yield settings
    folder.chmod(stat.S_IRWXU)
    shutil.rmtree(folder)


#: Another process that works with the log: SQLite keeps account of locks by process.
WORKER = """
import sqlite3, sys
log = sqlite3.connect(sys.argv[1], isolation_level=None)
log.execute("INSERT INTO mailctl_users (email, username, first_name) VALUES ('zoe@example.com', '', '')")
print("ready", flush=True)
sys.stdin.readline()
log.close()
"""


@pytest.mark.parametrize("is_open", [True, False], ids=["while a worker has it open", "when nobody has"])
def test_a_log_in_a_read_only_folder_can_be_read(readable: Settings, is_open: bool) -> None:
    """By whoever may read it, such as an operator who is not the service's user."""
    home = readable.mailctl_home
    home.chmod(0o755)
    words = [sys.executable, "-c", WORKER, str(home / "mailctl.db")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        if not is_open:
            worker.stdin.close()
            worker.wait()
        home.chmod(0o555)
        with as_another_user():
            read_and_fail_to_write(readable)


def read_and_fail_to_write(settings: Settings) -> None:
    engine = open_delivery_log(settings, AccessMode.READ)
    with reading(engine) as connection:
        assert connection.exec_driver_sql("SELECT email FROM mailctl_users").scalar() == "zoe@example.com"
    with pytest.raises(LogUnavailable, match="readonly database"), writing(engine) as connection:
        connection.exec_driver_sql("DELETE FROM mailctl_users")
    engine.dispose()
