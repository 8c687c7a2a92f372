"""Pauses hold in the claim and in the relay's questions, on SQLite and on PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.pauses import PauseScope
from mailctl.domain.catalog import RESET, WELCOME
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.runtime import Runtime
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailctl.domain.catalog import Kind

WORKER = "w@host"


@pytest.fixture(params=["sqlite", "postgresql"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Runtime]:
    """An empty delivery log."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    more = {"mailctl_database_url": url} if url else {}
    runtime = Runtime(Settings(mailctl_home=tmp_path, **more))
    yield runtime
    runtime.close()


def record(log: Runtime, kind: Kind = WELCOME) -> str:
    """Record an email."""
    content = make_content(kind, make_user(email="zoe@example.com"), origins=log.link_origins)
    return Enqueuer(log).record(EmailRequest(kind=kind), [content]).ids[0]


def state(log: Runtime, email_id: str) -> State:
    """Return where an email stands."""
    return log.history.find(email_id)[0].state


def pause(log: Runtime, scope: PauseScope, name: str) -> bool:
    """Stop something."""
    return log.pauses.pause(scope, name, actor="zoe", reason="why not")


@pytest.mark.parametrize(("scope", "name"), [(PauseScope.QUEUE, "celery"), (PauseScope.KIND, "welcome")])
def test_a_claim_does_not_take_what_is_paused(log: Runtime, scope: PauseScope, name: str) -> None:
    """The message is gone, so the email goes back into the log; no attempt is counted, and it says why."""
    email_id = record(log)
    log.publications.mark_queued([email_id], worker_id="w-1")
    pause(log, scope, name)
    assert log.claims.claim([email_id], worker=WORKER).claims == []
    [email] = log.history.find(email_id)
    assert (email.state, email.attempts, email.queued_at) == (State.PENDING, 0, None)
    assert "has been paused by zoe" in log.history.events(email_id)[-1].text
    assert log.publications.reserve_due(limit=9) == []
    log.pauses.resume(scope, name)
    assert [found.id for found in log.publications.reserve_due(limit=9)] == [email_id]
    assert len(log.claims.claim([email_id], worker=WORKER).claims) == 1


def test_a_pause_stops_nothing_else(log: Runtime) -> None:
    """Other kinds of the same queue go on, also past many that are paused."""
    stopped = [record(log, RESET) for _ in range(3)]
    email_id = record(log)
    pause(log, PauseScope.KIND, "reset")
    log.pauses.park()
    assert [found.id for found in log.publications.reserve_due(limit=1)] == [email_id]
    taken = log.claims.claim([*stopped, email_id], worker=WORKER)
    assert [claim.id for claim in taken.claims] == [email_id]
    assert {state(log, each) for each in stopped} == {State.PENDING}


def test_what_is_paused_is_no_work_to_wait_for(log: Runtime) -> None:
    """A worker that drains the log stops."""
    email_id = record(log)
    pause(log, PauseScope.QUEUE, "celery")
    log.pauses.park()
    now = log.history.find(email_id)[0].due_at
    assert log.history.backlog(now=now.replace(year=now.year - 1)).ready == 0


def test_the_first_pause_stays(log: Runtime) -> None:
    """A second one changes neither who nor why; of two, both have to end."""
    email_id = record(log)
    assert pause(log, PauseScope.QUEUE, "celery")
    assert not log.pauses.pause(PauseScope.QUEUE, "celery", actor="eve", reason="")
    pause(log, PauseScope.KIND, "welcome")
    assert [each.actor for each in log.pauses.read()] == ["zoe", "zoe"]
    log.pauses.park()
    assert log.pauses.resume(PauseScope.QUEUE, "celery")
    assert log.publications.reserve_due(limit=9) == []
    assert log.pauses.resume(PauseScope.KIND, "welcome")
    assert not log.pauses.resume(PauseScope.KIND, "welcome")
    assert [found.id for found in log.publications.reserve_due(limit=9)] == [email_id]


def test_a_pause_that_ends_meanwhile_strands_nothing(log: Runtime) -> None:
    """What a claim has left alone goes back into the log in any case: its message is gone."""
    from mailctl.delivery_log.pauses import return_paused
    from mailctl.delivery_log.storage.engine import writing

    email_id = record(log)
    log.publications.mark_queued([email_id])
    with writing(log.engine) as connection:
        return_paused(connection, [email_id], now=log.history.find(email_id)[0].due_at)
    assert state(log, email_id) is State.PENDING
    assert [found.id for found in log.publications.reserve_due(limit=9)] == [email_id]
