"""The outbox: emails are recorded here before anything else happens to them, and published from here."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, bindparam, delete, select, update

from mailctl.delivery_log import idempotency
from mailctl.delivery_log.due import may_start
from mailctl.delivery_log.new_rows import email_row, first_events
from mailctl.delivery_log.pauses import is_not_paused
from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.rows import EMAIL_COLUMNS, email_from_row
from mailctl.delivery_log.rule_enforcement import Rules
from mailctl.delivery_log.storage import encryption
from mailctl.delivery_log.storage.engine import flush, reading, writing
from mailctl.delivery_log.storage.raw_insert import insert_rows, is_empty
from mailctl.delivery_log.storage.tables import UtcDateTime, emails, events, pauses
from mailctl.delivery_log.transitions import (
    StateChange,
    append_events,
    change_state,
    insert_or_ignore,
    reason_values,
    utc_now,
)
from mailctl.domain.catalog import CANARY
from mailctl.domain.models import CLAIMABLE_STATES, State
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from mailctl.domain.models import Content, Draft, Email
    from mailctl.security.keyring import Keyring

#: Seconds for which a relay reserves a due email; if the relay fails, another tries after that.
RESERVE_SECONDS = 5
_MARK_QUEUED = StateChange(
    and_(
        emails.c.id.in_(bindparam("ids", expanding=True)),
        # Not an email that a fast worker has deferred already, before this was written.
        may_start(bindparam("moment", type_=UtcDateTime)),
    ),
    State.QUEUED,
    values={"queued_at": bindparam("moment"), "queued_in": bindparam("queued_in")},
)


@dataclass(frozen=True, kw_only=True)
class RecordResult:
    """What one call has recorded."""

    #: The id of the first email; for a repeated idempotency key, the id that the earlier call returned.
    id: str
    #: The emails that can be published at once; for the others, the log says whether they may be published.
    publishable: tuple[Draft, ...] = field(default=(), repr=False)


class Outbox(Repository):
    """Records emails, and keeps track of which are on the broker.

    Args:
        engine: of the delivery log's database, with the current schema.
        keyring: encrypts and decrypts the content.
        idempotency_window: how long an idempotency key is remembered.
        rules: suppressions and limits; None applies suppressions alone.
        clock: returns the current time, aware.
    """

    def __init__(
        self,
        engine: Engine,
        keyring: Keyring,
        *,
        idempotency_window: timedelta,
        rules: Rules | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(engine, clock=clock)
        self._keyring = keyring
        self._window = idempotency_window
        self.rules = rules or Rules()

    def add(self, drafts: Sequence[Draft], *, due_at: datetime, durable: bool = True) -> RecordResult:
        """Record the emails of one call as pending; the rules suppress or delay some of them.

        Args:
            drafts: one email per recipient; the id and the idempotency key of the first stand for all.
            due_at: when a relay may publish them.
            durable: whether they are on disk when this returns; otherwise `flush` writes them there.

        Raises:
            IdempotencyConflict: an earlier call with this idempotency key had other content.
            LogUnavailable: the delivery log cannot be written.
        """
        with writing(self._engine, durable=durable) as connection:
            return self.add_in_transaction(connection, drafts, due_at=due_at)

    def add_in_transaction(
        self, connection: Connection, drafts: Sequence[Draft], *, due_at: datetime
    ) -> RecordResult:
        """Record emails like `add`, in the transaction of the caller."""
        now = self._clock()
        earlier = idempotency.register_key(
            connection, drafts, self._keyring, now=now, expires_at=now + self._window
        )
        if earlier is not None:
            return RecordResult(id=earlier)
        insert_rows(connection, emails, [self.new_row(draft, due_at=due_at, now=now) for draft in drafts])
        insert_rows(connection, events, first_events(drafts, now=now))
        refused = self.rules.apply(connection, drafts, now=now)
        publishable: tuple[Draft, ...] = ()
        if not self.rules.can_delay and is_empty(connection, pauses.c.name):
            publishable = tuple(
                each for each in drafts if each.id not in refused and each.request.is_due_at_once
            )
        return RecordResult(id=drafts[0].id, publishable=publishable)

    def record_from_message(self, drafts: Sequence[Draft]) -> dict[str, str]:
        """Record the emails that a message of another program asks for; known ones stay as they are.

        The message itself carries the first email, unless that is scheduled; a relay publishes the others.

        Returns:
            Why each suppressed email was suppressed, by id.
        """
        now = self._clock()
        rows = [self.new_row(draft, due_at=now, now=now) for draft in drafts]
        if drafts[0].request.is_due_at_once:
            rows[0] |= {"state": State.QUEUED, "queued_at": now}
        with writing(self._engine) as connection:
            new = [
                draft
                for draft, row in zip(drafts, rows, strict=True)
                if insert_or_ignore(connection, emails, row)
            ]
            ids, text = [draft.id for draft in new], "received from another program"
            append_events(connection, ids, text=text, now=now, code=ReasonCode.RECEIVED)
            return self.rules.apply(connection, new, now=now)

    def record_failed_message(self, draft: Draft, *, reason: str) -> None:
        """Record a message of another program that can never become an email, as a failed email.

        Args:
            draft: stands for the email that the message should have been.
            reason: what is wrong with the message, for people.
        """
        now, code = self._clock(), ReasonCode.INVALID_MESSAGE
        row = self.new_row(draft, due_at=now, now=now) | reason_values(Reason(code=code, text=reason))
        row |= {"state": State.FAILED, "content": None}
        with writing(self._engine) as connection:
            if insert_or_ignore(connection, emails, row):
                append_events(connection, [row["id"]], text=reason, now=now, code=code)

    def new_row(self, draft: Draft, *, due_at: datetime, now: datetime) -> dict[str, Any]:
        """Return the row of a pending email, with encrypted content; see `email_row`."""
        return email_row(draft, self._keyring, due_at=due_at, now=now)

    def flush(self) -> None:
        """Write to disk what was recorded with `durable=False`."""
        flush(self._engine)

    def content(self, email_id: str) -> Content | None:
        """Return the content of an email; None if the content was deleted or the email is unknown.

        Raises:
            ConfigurationError: no key that this process knows decrypts it.
        """
        query = select(emails.c.content).where(emails.c.id == email_id)
        with reading(self._engine) as connection:
            sealed = connection.execute(query).scalar()
        return None if sealed is None else encryption.open_sealed(sealed, self._keyring)

    def contents(self, ids: Collection[str]) -> dict[str, Content | None]:
        """Return the contents of emails by id: None for those that no known key decrypts.

        Emails that are unknown or whose content was deleted are left out.
        """
        query = select(emails.c.id, emails.c.content).where(
            emails.c.id.in_(ids), emails.c.content.is_not(None)
        )
        with reading(self._engine) as connection:
            return {row.id: self._open_or_none(row.content) for row in connection.execute(query)}

    def _open_or_none(self, sealed: bytes) -> Content | None:
        try:
            return encryption.open_sealed(sealed, self._keyring)
        except ConfigurationError:
            return None

    def reserve_due(self, *, limit: int) -> list[Email]:
        """Return due emails that are not on the broker; emails of campaigns are not among them.

        No other relay gets them for `RESERVE_SECONDS`; `mark_queued` then records that they were published.
        """
        now = self._clock()
        found: list[Email] = []
        with writing(self._engine) as connection:
            # One query for each state, so that the index gives the first ones at once.
            for state in (State.DEFERRED, State.PENDING):
                found += _reserve(connection, state, limit=limit - len(found), now=now)
        return found

    def mark_queued(self, ids: Collection[str], *, worker_id: str | None = None) -> int:
        """Record that messages for these emails are on the broker.

        Args:
            worker_id: the worker in whose memory the messages are; None for a broker outside the process.

        Returns:
            How many of the emails were still waiting to be published.
        """
        now = self._clock()
        parameters = {"ids": list(ids), "queued_in": worker_id}
        # If a power failure undoes this, the emails are published twice, and claimed once.
        with writing(self._engine, durable=False) as connection:
            return len(_MARK_QUEUED.run(connection, parameters, text="published to the broker", now=now))

    def postpone_publishing(self, email_id: str, *, until: datetime, reason: str) -> None:
        """Record why a due email could not be published, and when a relay tries again."""
        problem = reason_values(Reason(code=ReasonCode.PUBLISHING_FAILED, text=reason))
        with writing(self._engine) as connection:
            connection.execute(
                update(emails).where(_is_unpublished(email_id)).values(due_at=until, **problem)
            )

    def fail_unpublishable(self, email_id: str, *, reason: str) -> None:
        """Record that an email can never be published."""
        self._end(_is_unpublished(email_id), State.FAILED, Reason(code=ReasonCode.UNPUBLISHABLE, text=reason))

    def suppress(self, email_id: str, *, reason: str) -> None:
        """Suppress an unclaimed email to a recipient that the policy of this environment forbids."""
        is_unclaimed = and_(emails.c.id == email_id, emails.c.state.in_(CLAIMABLE_STATES))
        self._end(is_unclaimed, State.SUPPRESSED, Reason(code=ReasonCode.NOT_ALLOWED, text=reason))

    def _end(self, where: ColumnElement[bool], target: State, reason: Reason) -> None:
        values, now = reason_values(reason), self._clock()
        with writing(self._engine) as connection:
            change_state(
                connection, where, target, text=reason.text, values=values, now=now, code=reason.code
            )

    def postpone_for_outage(self, email_id: str, *, until: datetime, reason: str) -> bool:
        """Return a published email to the log while the mail server does not work.

        Args:
            until: when a worker may try it again.
            reason: what is wrong with the mail server, for people.

        Returns:
            Whether that was done; False if the email is not waiting to be sent any more.
        """
        now, code, text = self._clock(), ReasonCode.MAIL_SERVER_DOWN, f"postponed: {reason}"
        values = reason_values(Reason(code=code, text=text))
        values |= {"due_at": until, "not_before": until, "queued_at": None, "queued_in": None}
        is_due = and_(emails.c.id == email_id, may_start(now))
        is_published = and_(is_due, emails.c.state.in_([State.QUEUED, State.DEFERRED]))
        with writing(self._engine) as connection:
            # The worker may have its message before `mark_queued` has committed. This statement comes first
            # because it waits for that transaction.
            is_not_marked = and_(is_due, emails.c.state == State.PENDING)
            kept = update(emails).where(is_not_marked).values(**values, updated_at=now)
            if connection.execute(kept).rowcount:
                append_events(connection, [email_id], text=text, now=now, code=code)
                return True
            changed = change_state(
                connection, is_published, State.PENDING, text=text, values=values, now=now, code=code
            )
            return bool(changed)

    def release_after_outage(self) -> int:
        """Make the emails due that waited for the mail server to work again; return how many."""
        waits_for_server = emails.c.reason_code == ReasonCode.MAIL_SERVER_DOWN
        is_kept = and_(emails.c.state == State.PENDING, waits_for_server)
        values = {"due_at": self._clock(), "not_before": None, **reason_values(None)}
        with writing(self._engine) as connection:
            return connection.execute(update(emails).where(is_kept).values(**values)).rowcount

    def delete_canary(self, canary_id: str) -> None:
        """Delete a canary and its events, in any state; emails are deleted by `Retention` alone."""
        is_canary = and_(emails.c.id == canary_id, emails.c.kind == CANARY.name)
        with writing(self._engine) as connection:
            if connection.execute(delete(emails).where(is_canary).returning(emails.c.id)).first():
                connection.execute(delete(events).where(events.c.email_id == canary_id))


def _is_unpublished(email_id: str) -> ColumnElement[bool]:
    return and_(emails.c.id == email_id, emails.c.state.in_([State.PENDING, State.DEFERRED]))


def _reserve(connection: Connection, state: State, *, limit: int, now: datetime) -> list[Email]:
    due = (
        select(emails.c.seq)
        .where(
            emails.c.state == state,
            emails.c.campaign.is_(None),
            emails.c.due_at <= now,
            is_not_paused(),
        )
        .order_by(emails.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    reserve = (
        update(emails)
        .where(emails.c.seq.in_(due.scalar_subquery()))
        .values(due_at=now + timedelta(seconds=RESERVE_SECONDS))
        .returning(*EMAIL_COLUMNS, emails.c.seq)
    )
    return [email_from_row(row) for row in sorted(connection.execute(reserve).all(), key=lambda row: row.seq)]
