"""Calls that come together share a transaction; each has its own result."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from mailctl.delivery_log.shared_transactions import SharedCall, SharedTransactions
from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.tables import pauses
from mailctl.delivery_log.storage.time_limit import remaining_seconds, time_limit
from mailctl.errors import InvalidInput, LogUnavailable
from tests.emails import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection, Engine

#: What stands for a transaction that takes long.
OTHER = "other transaction"


class Site:
    """Shared transactions on a log; what is written are names."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.transactions = SharedTransactions[str, str](engine, self.insert)
        #: What was written together, as far as it was tried.
        self.tried: list[tuple[int, tuple[str, ...]]] = []
        #: The seconds that each attempt had.
        self.limits: list[float | None] = []
        self.executor = ThreadPoolExecutor(9)
        self.has_begun, self.may_end = Event(), Event()

    def insert(self, connection: Connection, names: Sequence[str]) -> Sequence[str]:
        """Write names."""
        if OTHER in names:
            self.has_begun.set()
            assert self.may_end.wait(60)
            return names
        self.tried.append((id(connection), tuple(names)))
        self.limits.append(remaining_seconds())
        if "interrupted" in names:
            raise KeyboardInterrupt
        if "silent" in names:
            raise LogUnavailable("it is locked.")
        if "bad" in names:
            raise InvalidInput("name", "is bad.")
        rows = [{"scope": "kind", "name": name, "reason": "", "actor": "", "since": NOW} for name in names]
        connection.execute(pauses.insert(), rows)
        return names

    def write(self, name: str) -> str:
        """Write a name."""
        return self.transactions.write(name, order=name)

    def write_together(self, *names: str) -> list[Future[str]]:
        """Write names that come while another transaction is written."""
        with self.another_transaction():
            found = [self.executor.submit(self.write, name) for name in names]
            while len(self.transactions._waiting) < len(names):
                pass
        return found

    @contextmanager
    def another_transaction(self) -> Iterator[None]:
        """Write nothing, for as long as the block takes; it is not noted as tried."""
        self.has_begun.clear()
        self.may_end.clear()
        other = self.executor.submit(self.write, OTHER)
        assert self.has_begun.wait(60)
        try:
            yield
        finally:
            self.may_end.set()
            other.result(60)

    def names(self) -> list[str]:
        """Return the names in the log."""
        with reading(self.engine) as connection:
            return sorted(connection.execute(select(pauses.c.name)).scalars())


@pytest.fixture
def site(engine: Engine) -> Iterator[Site]:
    """Shared transactions on an empty log."""
    site = Site(engine)
    yield site
    site.executor.shutdown()


def test_a_call_alone_has_a_transaction_of_its_own(site: Site) -> None:
    """Its errors are raised, and undo it."""
    assert site.write("a") == "a"
    with pytest.raises(InvalidInput):
        site.write("bad")
    assert site.names() == ["a"]


def test_calls_that_come_together_share_a_transaction(site: Site) -> None:
    """Written in a fixed order, so that two processes do not wait for each other."""
    results = [future.result(60) for future in site.write_together("c", "a", "b")]
    assert results == ["c", "a", "b"]
    assert [names for _, names in site.tried] == [("a", "b", "c")]
    assert site.names() == ["a", "b", "c"]


def test_a_call_that_fails_does_not_undo_others(site: Site) -> None:
    """They still share a transaction, written one by one once it is known that one fails."""
    good, bad, other = site.write_together("good", "bad", "other")
    assert (good.result(60), other.result(60)) == ("good", "other")
    with pytest.raises(InvalidInput):
        bad.result(60)
    assert site.names() == ["good", "other"]
    assert [names for _, names in site.tried] == [
        ("bad", "good", "other"),
        ("bad",),
        ("good",),
        ("other",),
        ("bad",),
    ]
    assert site.tried[2][0] == site.tried[3][0]


def test_a_row_that_the_database_refuses_does_not_undo_others(site: Site) -> None:
    """The database answers, so that it is not taken for one that does not."""
    first, *others = site.write_together("a", "twice", "z", "twice")
    assert first.result(60) == "a"
    results = [future.exception(60) for future in others]
    assert sorted(map(type, results), key=str) == sorted([type(None), type(None), LogUnavailable], key=str)
    assert site.names() == ["a", "twice", "z"]


def test_many_calls_that_fail_leave_others_alone(site: Site) -> None:
    """Nobody fails for another."""
    good, *bad = site.write_together("good", *["bad"] * 7)
    assert {type(future.exception(60)) for future in bad} == {InvalidInput}
    assert (good.result(60), site.names()) == ("good", ["good"])


def test_one_thread_writes_the_calls_of_others(site: Site) -> None:
    """In the time that the first has; the one that fails is left to be written alone."""
    with time_limit(30):
        calls = [SharedCall[str, str](name, order=name) for name in ("b", "bad", "a")]
    site.transactions.write_all(calls)
    assert [call.is_alone for call in calls] == [False, True, False]
    assert [calls[0].take_result(), calls[2].take_result(), *site.names()] == ["b", "a", "a", "b"]
    site.transactions.write_alone(calls[1])
    with pytest.raises(InvalidInput):
        calls[1].take_result()
    assert all(seconds is not None and seconds <= 30 for seconds in site.limits)


def test_a_call_gives_up_in_time_and_is_not_written_later(site: Site) -> None:
    """The caller has been told that it failed."""
    with site.another_transaction(), time_limit(0.0), pytest.raises(LogUnavailable):
        site.write("late")
    assert site.write("next") == "next"
    assert site.names() == ["next"]


def test_a_log_that_does_not_answer_is_asked_once_for_all(site: Site) -> None:
    """Not once for each call."""
    for future in site.write_together("a", "b", "silent"):
        with pytest.raises(LogUnavailable):
            future.result(60)
    assert len(site.tried) == 1


def test_an_interrupted_call_keeps_nobody_waiting(site: Site) -> None:
    """Not those that came meanwhile, either."""
    with site.another_transaction(), time_limit(0.0), pytest.raises(LogUnavailable):
        site.write("late")
    with pytest.raises(KeyboardInterrupt):
        site.write("interrupted")
    assert [future.result(60) for future in site.write_together("a", "b")] == ["a", "b"]
    assert not site.transactions._is_writing
