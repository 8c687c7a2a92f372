"""Emails that wait: which may start, since when, and for which campaigns."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from mailctl import delivery_log
from mailctl.delivery_log.due import (
    GroupableEmails,
    may_start,
    starts_later,
    waiting_campaigns,
    waiting_since,
)
from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.tables import emails
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State

if TYPE_CHECKING:
    from datetime import datetime

    from tests.unit.delivery_log.conftest import Log


def waits_since(log: Log, email_id: str) -> datetime:
    """Return since when an email waits."""
    query = select(waiting_since()).where(emails.c.id == email_id)
    with reading(log.engine) as connection:
        return connection.execute(query).scalar_one()


def test_an_email_may_start_unless_it_waits_for_a_later_time(log: Log) -> None:
    """At its time exactly it may; every email either may start or starts later."""
    unscheduled = log.add()
    late, now, early = (log.add(not_before=log.now + timedelta(seconds=seconds)) for seconds in (1, 0, -1))
    with reading(log.engine) as connection:
        may = set(connection.execute(select(emails.c.id).where(may_start(log.now))).scalars())
        later = set(connection.execute(select(emails.c.id).where(starts_later(log.now))).scalars())
    assert may == {unscheduled, now, early}
    assert later == {late}


def test_publishers_and_the_log_agree_on_what_may_travel_in_groups(log: Log) -> None:
    """Emails of other queues, of tasks of the service, and canaries travel one by one."""
    groupable = GroupableEmails(queues=frozenset({"celery"}), own_task_kinds=frozenset({"reset"}))
    changes: list[dict[str, Any]] = [
        {"kind": "welcome"},
        {"kind": "reset"},
        {"kind": "canary"},
        {"queue": "billing"},
        {"is_own_task": True},
    ]
    ids = [log.add() for _ in changes]
    for email_id, change in zip(ids, changes, strict=True):
        log.change(email_id, **change)
    with reading(log.engine) as connection:
        found = set(connection.execute(select(emails.c.id).where(groupable.condition)).scalars())
    assert found == {ids[0]}
    for email in map(log.email, ids):
        may = groupable.include(queue=email.queue, kind=email.kind, is_own_task=email.is_own_task)
        assert may == (email.id in found)


def test_one_module_compares_the_time_before_which_no_email_is_claimed() -> None:
    """The others ask it, so that claims, pauses, queues and counts cannot disagree."""
    folder = Path(delivery_log.__file__).parent
    compares = {
        str(path.relative_to(folder))
        for path in folder.rglob("*.py")
        if re.search(r"c\.not_before [<>]", path.read_text())
    }
    assert compares == {"due.py"}


def test_a_scheduled_email_waits_since_its_time(log: Log) -> None:
    """It could not be sent before; one that a reason delays waits since it was recorded."""
    later = log.now + timedelta(hours=1)
    scheduled, delayed, plain = log.add(not_before=later), log.add(), log.add()
    log.change(delayed, not_before=later, reason_code=ReasonCode.MAIL_SERVER_DOWN)
    assert [waits_since(log, each) for each in (scheduled, delayed, plain)] == [later, log.now, log.now]


def test_campaigns_with_waiting_emails_are_named_once(log: Log) -> None:
    """Whether their emails are pending or deferred; finished campaigns are left out."""
    for number, (campaign, state) in enumerate(
        [("a", State.PENDING), ("a", State.PENDING), ("b", State.DEFERRED), ("c", State.SENT)]
    ):
        log.change(log.add(f"u{number}@example.com"), campaign=campaign, state=state)
    log.add()
    with reading(log.engine) as connection:
        assert sorted(waiting_campaigns(connection)) == ["a", "b"]
