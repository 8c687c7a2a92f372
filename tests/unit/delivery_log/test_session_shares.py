"""The sessions to a mail server, as all workers of a log share them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from mailctl.delivery_log.send_limits import read_learned_limits
from mailctl.delivery_log.session_shares import SessionShares
from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.tables import session_holders
from mailctl.domain.session_shares import FIRST_TRIAL_SECONDS, SessionDemand

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log


def shares_in(log: Log) -> SessionShares:
    return SessionShares(log.engine, "default", clock=log.time)


def demand(opened: int, wanted: int = 10) -> SessionDemand:
    return SessionDemand(opened=opened, wanted=wanted)


def test_without_a_refusal_there_is_no_limit(log: Log) -> None:
    """And nothing is written."""
    shares = shares_in(log)
    assert not shares.is_limited()
    assert shares.exchange("a", demand(4)) is None
    assert read_learned_limits(log.engine, now=log.now) == []


def test_what_one_worker_learns_is_shared(log: Log) -> None:
    """The sessions of others count when they are reported, and the limit is shown with the reason."""
    shares = shares_in(log)
    assert shares.note_refusal("a", demand(3), reason="at connect: 421 too many") == 3
    assert shares.is_limited()
    assert shares.exchange("b", demand(1)) == 1
    assert shares.exchange("a", demand(3)) == 2, "the other one needs it"
    assert [str(limit) for limit in read_learned_limits(log.engine, now=log.now)] == [
        "server default takes 4 sessions at a time, as far as is known: at connect: 421 too many"
    ]


def test_all_sessions_are_in_use_while_processes_say_so(log: Log) -> None:
    """Those that are silent for a few seconds may have ended; without a limit, anybody may open one."""
    shares = shares_in(log)
    shares.exchange("a", demand(2))
    assert not shares.are_all_in_use()
    shares.note_refusal("a", demand(2), reason="")
    assert shares.are_all_in_use()
    log.now += timedelta(seconds=6)
    assert not shares.are_all_in_use()
    shares.exchange("a", demand(2, wanted=1))
    assert not shares.are_all_in_use()


def test_a_worker_gives_back_what_another_needs(log: Log) -> None:
    """The other one gets it once it is free."""
    shares = shares_in(log)
    shares.note_refusal("a", demand(4), reason="")
    assert shares.exchange("b", demand(0)) == 0
    assert shares.exchange("a", demand(4)) == 2
    assert shares.exchange("b", demand(0)) == 0, "they are still open"
    assert shares.exchange("a", demand(2)) == 2
    assert shares.exchange("b", demand(0)) == 2


def test_one_of_all_workers_tries_one_more(log: Log) -> None:
    """When the time has come; what it opens raises the limit for all."""
    shares = shares_in(log)
    shares.exchange("b", demand(0, wanted=1))
    shares.note_refusal("a", demand(2), reason="")
    few = demand(1, wanted=1)
    for _ in range(10):  # a worker that has been silent for long would count as gone
        assert [shares.exchange("a", few), shares.exchange("b", few)] == [1, 1]
        log.forward(FIRST_TRIAL_SECONDS / 10)
    assert [shares.exchange("a", demand(1)), shares.exchange("b", demand(1))] == [2, 1]
    assert [shares.exchange("a", demand(2)), shares.exchange("b", demand(1))] == [2, 1]
    assert "3 sessions" in str(read_learned_limits(log.engine, now=log.now)[0])


def test_the_sessions_of_a_worker_that_is_gone_are_free(log: Log) -> None:
    """It said so, or has not been heard of for ten seconds."""
    shares = shares_in(log)
    shares.note_refusal("a", demand(3), reason="")
    shares.leave("a")
    assert shares.exchange("b", demand(0)) == 3
    log.forward(11)
    assert shares.exchange("c", demand(0)) == 3
    with reading(log.engine) as connection:
        assert connection.execute(select(func.count()).select_from(session_holders)).scalar() == 1


def test_a_limit_is_forgotten_after_a_day(log: Log) -> None:
    """The server may have another one by then; it will say so."""
    shares = shares_in(log)
    shares.note_refusal("a", demand(3), reason="")
    log.forward(86_401)
    assert not shares.is_limited()
    assert shares.exchange("a", demand(3)) is None
    assert read_learned_limits(log.engine, now=log.now) == []
