"""The delivery log's database goes away, is locked, or is full."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mailctl.errors import LogUnavailable
from tests.private_mounts import IN_A_NAMESPACE, MAY_MOUNT

if TYPE_CHECKING:
    from tests.faults.conftest import Checker
    from tests.faults.site import Site
    from tests.servers import PostgresServer


pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


@pytest.mark.usefixtures("any_broker")
@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_postgresql_is_away(site: Site, check: Checker, postgres: PostgresServer, is_long: bool) -> None:
    """Enqueueing says so and records nothing; what was in hand is recorded when the log is back."""
    site.terminal.set(MAILCTL_DATABASE_URL=postgres.make_database())
    site.start_worker("-c", "2")
    site.enqueue(40)
    time.sleep(0.5)
    postgres.stop()
    with pytest.raises(LogUnavailable):
        site.enqueue(1)
    result = site.terminal.run("send", "welcome", "--email", "a@example.com")
    assert (result.code, result.err.count("\n")) == (5, 1), result
    time.sleep(20 if is_long else 4)
    postgres.start()
    site.enqueue(10)
    site.repaired()
    check()


@pytest.mark.usefixtures("any_broker")
@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_postgresql_crashes(site: Site, check: Checker, postgres: PostgresServer, is_long: bool) -> None:
    """No id that a call has returned is lost with the process of one session, and no claim or outcome."""
    site.terminal.set(MAILCTL_DATABASE_URL=postgres.make_database())
    crashes = 14 if is_long else 2
    for _ in range(crashes):
        site.call(20)
        postgres.crash()
    site.start_worker("-c", "2")
    for _ in range(crashes):
        site.wait_until_finished(len(site.ids))
        site.call(20)
        postgres.crash()
    site.repaired()
    check(duplicates=2 * crashes)


@pytest.mark.usefixtures("any_broker")
@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_sqlite_is_locked(site: Site, check: Checker, is_long: bool) -> None:
    """Somebody holds the lock for longer than anybody waits."""
    site.start_worker("-c", "2")
    site.enqueue(40)
    file = site.terminal.folder / ".mailctl" / "mailctl.db"
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    time.sleep(25 if is_long else 12)
    connection.execute("ROLLBACK")
    connection.close()
    site.enqueue(10)
    site.repaired()
    check()


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_eight_writers_press_on_sqlite(site: Site, check: Checker, is_long: bool) -> None:
    """Each waits its turn; none is told that the database is locked."""
    site.start_worker("-c", "2")
    site.enqueue(1)
    errors: list[BaseException] = []

    def write() -> None:
        try:
            site.enqueue(200 if is_long else 15, publishes=False)
        except BaseException as error:
            errors.append(error)

    writers = [threading.Thread(target=write) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not errors
    site.repaired()
    check()


@pytest.mark.skipif(not MAY_MOUNT, reason="this system lets nobody mount a tmpfs; the file limit is tested")
@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_the_disk_is_full(site: Site, tmp_path: Path) -> None:
    """On a tmpfs that has no room left: one sentence, and what is recorded goes out."""
    script = f"""
        set -e
        mount -t tmpfs -o size=3m none {tmp_path / "disk"}
        export MAILCTL_HOME={tmp_path / "disk"}
        mailctl() {{ {site.terminal.python} -m mailctl "$@"; }}
        mailctl send welcome --email before@b.example
        dd if=/dev/zero of=$MAILCTL_HOME/ballast status=none 2>/dev/null || true
        code=0; for n in $(seq 40); do mailctl send welcome --email $n@b.c || {{ code=$?; break; }}; done
        echo "full: $code"
        rm $MAILCTL_HOME/ballast
        mailctl worker --drain
        mailctl list --json
    """
    (tmp_path / "disk").mkdir()
    done = subprocess.run(
        [*IN_A_NAMESPACE, "bash", "-c", script],
        cwd=site.terminal.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done
    assert "full: 5" in done.stdout, done
    assert "its disk is full. Free space" in done.stderr, done
    states = [json.loads(line)["state"] for line in done.stdout.splitlines() if line.startswith("{")]
    assert states
    assert set(states) == {"sent"}
    assert len(states) == len(site.smtp.messages)


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_the_log_may_not_grow(site: Site, check: Checker) -> None:
    """At the limit of a file's size, enqueueing fails in one sentence, and the log is whole afterwards."""
    site.enqueue(5)
    home = site.terminal.folder / ".mailctl"
    blocks = (home / "mailctl.db").stat().st_size // 1024
    send = f"{site.terminal.python} -m mailctl send welcome --email a@b.example"
    command = f"trap '' XFSZ; ulimit -f {blocks}; exec {send}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=site.terminal.folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (5, 1), done
    with closing(sqlite3.connect(home / "mailctl.db", isolation_level=None)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    site.start_worker("-c", "1")
    site.repaired()
    check()


def _copy(site: Site) -> Path:
    """Return a backup of the log in SQLite."""
    copy = site.terminal.folder / "backup.db"
    with closing(sqlite3.connect(_file(site))) as log, closing(sqlite3.connect(copy)) as backup:
        log.backup(backup)
    return copy


def _file(site: Site) -> Path:
    return site.terminal.folder / ".mailctl" / "mailctl.db"


def _delete(site: Site) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{_file(site)}{suffix}").unlink(missing_ok=True)


@pytest.mark.usefixtures("any_broker")
@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_the_log_is_replaced_under_a_worker(site: Site, check: Checker, is_long: bool) -> None:
    """An older copy is restored: the worker goes on in the copy, like everybody else, and says so."""
    worker = site.start_worker("-c", "2")
    site.enqueue(10)
    site.wait_until_finished(10)
    copy = _copy(site)
    _delete(site)
    copy.replace(_file(site))
    site.enqueue(200 if is_long else 15)
    site.start_worker("-c", "2")
    site.enqueue(200 if is_long else 15)
    site.repaired()
    check()
    assert "was replaced by another file" in worker.output


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_the_log_is_deleted_under_a_worker(site: Site, check: Checker) -> None:
    """Nobody makes an empty one in its place, the worker says what is wrong, and goes on when it is back."""
    worker = site.start_worker("-c", "1")
    site.enqueue(5)
    site.wait_until_finished(5)
    copy = _copy(site)
    _delete(site)
    worker.wait_until_printed("its file was deleted while it was in use")
    with pytest.raises(LogUnavailable, match="deleted"):
        site.enqueue(1)
    assert not _file(site).exists()
    copy.replace(_file(site))
    site.enqueue(10)
    site.repaired()
    check()


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_copy_is_restored_on_postgresql(site: Site, check: Checker, postgres: PostgresServer) -> None:
    """The worker goes on in the copy, and says so, as with a file."""
    url = postgres.make_database()
    site.terminal.set(MAILCTL_DATABASE_URL=url)
    worker = site.start_worker("-c", "1")
    site.enqueue(5)
    site.wait_until_finished(5)
    postgres.replace_database(url)
    worker.wait_until_printed("was replaced by a copy of it")
    site.enqueue(10)
    site.repaired()
    check()
