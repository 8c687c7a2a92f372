"""Races at first use: many threads and processes open a delivery log that none of them has created yet."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import uuid
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.storage.engine import open_engine, open_log_reader, reading
from mailctl.delivery_log.storage.schema_version import ensure_current, read_version
from mailctl.delivery_log.storage.urls import parse_url
from mailctl.users import EmbeddedUserDirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from tests.servers import PostgresServer

    NewLog = Callable[[str], str]

THREADS = 8
PROCESSES = 4
#: New logs that everybody opens, on each kind of database; creating one on a server takes longer.
ROUNDS = {"sqlite": 10, "postgresql": 3}
#: Long enough for a thread to be refused; nothing depends on it where all is well.
MOMENT = 0.3
DEMO_USERS = 3
#: Uses all that a first use creates, of each log that it is told of.
PROCESS = """
import asyncio, sys
from pathlib import Path
from pydantic import SecretStr
from mailctl.domain.models import Envelope
from mailctl.runtime import Runtime
from mailctl.settings import Settings
print("ready", flush=True)
for line in sys.stdin:
    url, home = line.split()
    try:
        runtime = Runtime(Settings(mailctl_home=Path(home), mailctl_database_url=SecretStr(url)))
        runtime.directory.add(f"{sys.argv[1]}@example.com")
        runtime.api_keys.create(sys.argv[1])
        addresses = {"sender": "a@example.com", "recipient": "b@example.com"}
        envelope = Envelope(message_id="<one@example.com>", subject="", data=b".", **addresses)
        asyncio.run(runtime.make_sender().send(envelope))
        print("done", flush=True)
        runtime.close()
    except Exception as error:
        print(repr(error), flush=True)
"""


@pytest.fixture
def new_log(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[NewLog]:
    """Returns the address of another log that does not exist, as often as a test likes."""
    on_server: list[str] = []

    def make(backend: str) -> str:
        if backend == "sqlite":
            return f"sqlite:///{tmp_path / uuid.uuid4().hex / 'inner' / 'mailctl.db'}"
        on_server.append(postgres_server.make_database())
        return on_server[-1]

    yield make
    for url in on_server:
        postgres_server.drop_database(url)


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    engine = open_engine(parse_url(url, setting="X"), setting="X")
    try:
        yield engine
    finally:
        engine.dispose()


def use_first(url: str, name: str) -> None:
    """Create the log, and its table of users with what is in it at first."""
    with opened(url) as engine:
        ensure_current(engine)
        EmbeddedUserDirectory(engine, with_demo_users=True).add(f"{name}@example.com")


def run_together(number: int, work: Callable[[str], None]) -> list[str]:
    """Let threads do something at the same moment; return what went wrong."""
    start, failures = threading.Barrier(number), list[str]()

    def run(name: str) -> None:
        start.wait()
        try:
            work(name)
        except Exception as error:
            failures.append(repr(error))

    threads = [threading.Thread(target=run, args=(f"user{each}",)) for each in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def users_in(url: str) -> int:
    with opened(url) as engine:
        assert read_version(engine).is_current
        return len(EmbeddedUserDirectory(engine, with_demo_users=False).list_users())


@pytest.mark.parametrize("backend", ROUNDS)
def test_threads_that_start_together_create_it_once(new_log: NewLog, backend: str) -> None:
    """The others wait, and find it complete."""
    for _ in range(ROUNDS[backend]):
        url = new_log(backend)
        assert run_together(THREADS, lambda name, url=url: use_first(url, name)) == []
        assert users_in(url) == DEMO_USERS + THREADS


def test_processes_that_start_together_create_it_once(new_log: NewLog, tmp_path: Path) -> None:
    """A web service and its workers come up at the same time: log, users, keys, folder of captured emails."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, f"user{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    try:
        answers = [answer_of(process) for process in processes]
        for number, backend in enumerate(each for each, rounds in ROUNDS.items() for _ in range(rounds)):
            url, home = new_log(backend), tmp_path / f"captured-{number}" / "inner"
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(f"{url} {home}\n")
                process.stdin.flush()
            answers = [answer_of(process) for process in processes]
            assert answers == ["done"] * PROCESSES
            assert users_in(url) == DEMO_USERS + PROCESSES
            assert len(list((home / "mail").glob("*.eml"))) == PROCESSES
    finally:
        for process in processes:
            process.communicate()


def test_threads_may_create_different_logs_together(new_log: NewLog) -> None:
    """Migrations share their state within a process."""
    for _ in range(ROUNDS["sqlite"]):
        urls = {f"user{number}": new_log("sqlite") for number in range(THREADS)}
        assert run_together(THREADS, lambda name, urls=urls: use_first(urls[name], name)) == []
        assert {users_in(url) for url in urls.values()} == {DEMO_USERS + 1}


def test_a_server_may_isolate_transactions_more_by_default(new_log: NewLog) -> None:
    """Whoever waits for the others must see what they have created."""
    url = new_log("postgresql")
    with opened(url) as engine, engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(
            f"ALTER DATABASE {engine.url.database} SET default_transaction_isolation = 'serializable'"
        )
    assert run_together(THREADS, lambda name: use_first(url, name)) == []
    assert users_in(url) == DEMO_USERS + THREADS


def answer_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@contextmanager
def held(path: Path, how: str) -> Iterator[sqlite3.Connection]:
    """Another program's lock on a file that is no log yet, in the mode in which SQLite creates files."""
    path.touch()
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute(how)
        yield other


@pytest.mark.parametrize("how", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_new_file_that_another_process_has_locked_is_waited_for(tmp_path: Path, how: str) -> None:
    """SQLite refuses at once to change the mode of such a file: its own timeout does not apply."""
    path = tmp_path / "mailctl.db"
    failures: list[str] = []
    with held(path, how) as other:
        first = threading.Thread(
            target=lambda: failures.extend(run_together(1, lambda name: use_first(f"sqlite:///{path}", name)))
        )
        first.start()
        first.join(MOMENT)
        assert (first.is_alive(), failures) == (True, []), "it did not wait"
        other.execute("COMMIT")
        first.join()
    assert failures == []
    assert users_in(f"sqlite:///{path}") == DEMO_USERS + 1


def test_who_only_reads_waits_for_the_lock_too(tmp_path: Path) -> None:
    """Such as `mailctl list` while the worker creates the log."""
    path, failures = tmp_path / "mailctl.db", list[str]()

    def look(_: str) -> None:
        engine = open_log_reader(parse_url(f"sqlite:///{path}", setting="X"), setting="X")
        with reading(engine) as connection:
            connection.exec_driver_sql("SELECT * FROM sqlite_master").all()
        engine.dispose()

    with held(path, "BEGIN EXCLUSIVE") as other:
        reader = threading.Thread(target=lambda: failures.extend(run_together(1, look)))
        reader.start()
        reader.join(MOMENT)
        assert (reader.is_alive(), failures) == (True, [])
        other.execute("COMMIT")
        reader.join()
    assert failures == []
