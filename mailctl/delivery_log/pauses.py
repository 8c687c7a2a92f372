"""Pauses: an operator stops a queue, a kind or a campaign for all workers, and resumes it later.

No worker can claim a paused email. A pause therefore takes effect as soon as it is recorded, whatever
messages are on the broker or with a worker by then.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import ColumnElement, and_, delete, exists, or_, select, update

from mailctl.delivery_log.campaign_rates import restart_rates, return_to_log
from mailctl.delivery_log.due import WAITING_STATES, is_claimable_single, may_start, waiting_campaigns
from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import UNINDEXED_STATE, emails, pauses
from mailctl.delivery_log.transitions import insert_or_ignore
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.shell_command import ShellCommand, mailctl_command
from mailctl.domain.states import State
from mailctl.timefmt import TimeStyle, format_time

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

#: How long paused emails are not due, so that relays do not read them again and again.
PARKED_FOR = timedelta(hours=1)
#: Emails in one transaction, so that workers do not wait long for the database.
_BATCH_SIZE = 1000


class PauseScope(StrEnum):
    """The emails that a pause stops."""

    QUEUE = "queue"
    KIND = "kind"
    CAMPAIGN = "campaign"


class Pausable(Protocol):
    """An email, or a group of emails with the same queue, kind and campaign."""

    @property
    def queue(self) -> str:
        """Its queue."""

    @property
    def kind(self) -> str:
        """Its kind."""

    @property
    def campaign(self) -> str | None:
        """Its campaign; None if it belongs to none."""


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A paused queue, kind or campaign."""

    scope: PauseScope
    name: str
    #: The operator's reason; "" if none was given.
    reason: str
    actor: str
    since: datetime

    def covers(self, email: Pausable) -> bool:
        """Whether the pause stops an email, or all emails of a group."""
        names = {PauseScope.QUEUE: email.queue, PauseScope.KIND: email.kind}
        return self.name == names.get(self.scope, email.campaign)

    @property
    def resume_command(self) -> ShellCommand:
        """The command that ends the pause."""
        if self.scope is PauseScope.KIND:
            return mailctl_command("queue", "resume", kind=self.name)
        if self.scope is PauseScope.CAMPAIGN:
            return mailctl_command("campaign", "resume", arguments=[self.name])
        return mailctl_command("queue", "resume", arguments=[self.name])

    def __str__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        since = format_time(self.since, TimeStyle.MINUTE)
        return f"{self.scope} {self.name} has been paused by {self.actor} since {since}{why}"


class Pauses(Repository):
    """Pauses and resumes queues, kinds and campaigns."""

    def read(self) -> list[Pause]:
        """Return the pauses, oldest first."""
        with reading(self._engine) as connection:
            return _read(connection)

    def pause(self, scope: PauseScope, name: str, *, actor: str, reason: str) -> bool:
        """Pause a queue, a kind or a campaign; return False, and change nothing, if it is paused already."""
        row = {"scope": scope, "name": name, "reason": reason, "actor": actor, "since": self._clock()}
        with writing(self._engine) as connection:
            return insert_or_ignore(connection, pauses, row)

    def resume(self, scope: PauseScope, name: str) -> bool:
        """Resume a queue, a kind or a campaign, and make its emails due; return whether it was paused.

        Campaigns do not catch up on the time of the pause.
        """
        is_it = and_(pauses.c.scope == scope, pauses.c.name == name)
        now = self._clock()
        with writing(self._engine) as connection:
            was_paused = bool(connection.execute(delete(pauses).where(is_it)).rowcount)
            if was_paused:
                restart_rates(connection, _is_in_scope(scope, name), now=now)
        is_parked = and_(emails.c.due_at > now, may_start(now), _is_in_scope(scope, name), is_not_paused())
        self._set_due(is_parked, due_at=now)
        return was_paused

    def park(self) -> None:
        """Make paused emails not due for a while, so that relays do not read them again and again."""
        if not self.read():
            return
        now = self._clock()
        self._set_due(and_(emails.c.due_at <= now, ~is_not_paused()), due_at=now + PARKED_FOR)

    def _set_due(self, where: ColumnElement[bool], *, due_at: datetime) -> None:
        with reading(self._engine) as connection:
            campaigns = [None, *waiting_campaigns(connection)]
        for campaign in dict.fromkeys(campaigns):
            for state in WAITING_STATES:
                # By state and campaign, which are the first columns of the index.
                while self._set_due_batch(campaign, state, where, due_at=due_at) == _BATCH_SIZE:
                    pass

    def _set_due_batch(
        self, campaign: str | None, state: State, where: ColumnElement[bool], *, due_at: datetime
    ) -> int:
        found = (
            select(emails.c.id)
            .where(emails.c.state == state, _is_waiting_in(campaign), where)
            .limit(_BATCH_SIZE)
            .with_for_update(skip_locked=True)
        )
        changed = update(emails).where(emails.c.id.in_(found.scalar_subquery())).values(due_at=due_at)
        with writing(self._engine) as connection:
            return connection.execute(changed).rowcount


def is_not_paused() -> ColumnElement[bool]:
    """Return the condition that neither the queue, the kind nor the campaign of an email is paused."""
    stops_it = or_(
        and_(pauses.c.scope == PauseScope.QUEUE, pauses.c.name == emails.c.queue),
        and_(pauses.c.scope == PauseScope.KIND, pauses.c.name == emails.c.kind),
        and_(pauses.c.scope == PauseScope.CAMPAIGN, pauses.c.name == emails.c.campaign),
    )
    return ~exists().where(stops_it).correlate(emails)


def return_paused(connection: Connection, ids: Collection[str], *, now: datetime) -> None:
    """Return emails to the log that a claim has just skipped because they are paused.

    Their messages are consumed, so none of them may stay queued, even if the pause has ended meanwhile.
    """
    is_left = and_(emails.c.id.in_(ids), UNINDEXED_STATE == State.QUEUED, may_start(now))
    values = {"queued_at": None, "queued_in": None}
    for pause in _read(connection):
        is_stopped = and_(is_left, _is_in_scope(pause.scope, pause.name))
        parked = values | {"due_at": now + PARKED_FOR}
        _return(connection, is_stopped, text=str(pause), values=parked, now=now)
    text = "its queue, kind or campaign was paused a moment ago"
    _return(connection, is_left, text=text, values=values | {"due_at": now}, now=now)


def _return(
    connection: Connection, where: ColumnElement[bool], *, text: str, values: dict[str, Any], now: datetime
) -> None:
    return_to_log(connection, where, text=text, values=values, now=now, code=ReasonCode.PAUSED)


def _is_waiting_in(campaign: str | None) -> ColumnElement[bool]:
    return is_claimable_single() if campaign is None else emails.c.campaign == campaign


def _is_in_scope(scope: PauseScope, name: str) -> ColumnElement[bool]:
    columns = {PauseScope.QUEUE: emails.c.queue, PauseScope.KIND: emails.c.kind}
    return columns.get(scope, emails.c.campaign) == name


def _read(connection: Connection) -> list[Pause]:
    rows = connection.execute(select(pauses).order_by(pauses.c.since)).all()
    return [Pause(**{**row._asdict(), "scope": PauseScope(row.scope)}) for row in rows]
