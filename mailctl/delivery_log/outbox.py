"""The outbox: emails are recorded here before anything else happens to them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, select, update

from mailctl.delivery_log import idempotency
from mailctl.delivery_log.new_rows import email_row, first_events
from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.rows import IDENTITY_COLUMNS, identity_from_row
from mailctl.delivery_log.rule_enforcement import Rules
from mailctl.delivery_log.shared_transactions import SharedCall, SharedTransactions
from mailctl.delivery_log.storage import encryption
from mailctl.delivery_log.storage.engine import flush, reading, writing
from mailctl.delivery_log.storage.raw_insert import insert_rows, is_empty
from mailctl.delivery_log.storage.tables import emails, events, pauses
from mailctl.delivery_log.transitions import (
    append_events,
    insert_or_ignore,
    reason_values,
)
from mailctl.domain.catalog import CANARY, effective_kind
from mailctl.domain.link_expiry import undated_links_lifetime
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.states import State
from mailctl.errors import ConfigurationError
from mailctl.timefmt import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import Connection, Engine, Row, Select

    from mailctl.domain.models import Content, Draft
    from mailctl.security.keyring import Keyring


@dataclass(frozen=True, kw_only=True)
class RecordResult:
    """The emails that one call has recorded."""

    #: The id of the first email; for a repeated idempotency key, the id that the earlier call returned.
    id: str
    #: The emails that can be published at once; for the others, the log says whether they may be published.
    publishable: tuple[Draft, ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class NewEmails:
    """The emails of one call."""

    drafts: Sequence[Draft]
    #: When a relay may publish them.
    due_at: datetime

    @property
    def is_forced(self) -> bool:
        """Whether neither suppressions nor limits apply."""
        return self.drafts[0].request.forced_by is not None

    @property
    def first_address(self) -> str:
        """The address of the first email, by which calls that share a transaction are sorted."""
        return self.drafts[0].content.user.email


class Outbox(Repository):
    """Records emails, and keeps their content.

    Args:
        engine: of the delivery log's database, with the current schema.
        keyring: encrypts and decrypts the content.
        idempotency_window: how long an idempotency key is remembered.
        rules: suppressions and limits; None applies suppressions alone.
        clock: returns the current time, aware; None takes the clock of the log.
    """

    def __init__(
        self,
        engine: Engine,
        keyring: Keyring,
        *,
        idempotency_window: timedelta,
        rules: Rules | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        super().__init__(engine, clock=clock)
        self._keyring = keyring
        self._window = idempotency_window
        #: Those of calls that come together, by whether they are durable.
        self._transactions = {
            durable: SharedTransactions(engine, self._add_all, durable=durable) for durable in (True, False)
        }
        self.rules = rules or Rules()

    def add(self, drafts: Sequence[Draft], *, due_at: datetime, durable: bool = True) -> RecordResult:
        """Record the emails of one call as pending; the rules suppress or delay some of them.

        Calls of several threads that come together share a transaction.

        Args:
            drafts: one email per recipient; the id and the idempotency key of the first stand for all.
            due_at: when a relay may publish them.
            durable: whether they are on disk when this returns; otherwise `flush` writes them there.

        Raises:
            IdempotencyConflict: an earlier call with this idempotency key had other content.
            LogUnavailable: the delivery log cannot be written.
        """
        new = NewEmails(drafts=drafts, due_at=due_at)
        return self._transactions[durable].write(new, order=new.first_address)

    def add_all(self, calls: Sequence[SharedCall[NewEmails, RecordResult]], *, durable: bool = True) -> None:
        """Record the emails of several calls like `add`, in the calling thread.

        Afterwards each call has its result or error, or has to be recorded by `add_alone`.
        """
        self._transactions[durable].write_all(calls)

    def add_alone(self, call: SharedCall[NewEmails, RecordResult], *, durable: bool = True) -> None:
        """Record the emails of a call that may have to wait for another transaction."""
        self._transactions[durable].write_alone(call)

    def add_in_transaction(
        self, connection: Connection, drafts: Sequence[Draft], *, due_at: datetime
    ) -> RecordResult:
        """Record emails like `add`, in the transaction of the caller.

        None of them is known to be publishable: the log says so when the transaction has ended.
        """
        new = NewEmails(drafts=drafts, due_at=due_at)
        [result] = self._add_all(connection, [new], is_committed_next=False)
        return result

    def _add_all(
        self, connection: Connection, calls: Sequence[NewEmails], *, is_committed_next: bool = True
    ) -> list[RecordResult]:
        """Record the emails of several calls, in a number of statements that does not depend on them.

        Args:
            is_committed_next: whether the transaction ends now, and nothing changes what may be published.
        """
        now = self._clock()
        earlier = [self._register_key(connection, call, now) for call in calls]
        new = [call for call, known in zip(calls, earlier, strict=True) if known is None]
        refused = self._insert(connection, new, now) if new else {}
        publishable = self._publishable(connection, new, refused) if is_committed_next else frozenset()
        return [
            RecordResult(id=known)
            if known is not None
            else RecordResult(
                id=call.drafts[0].id,
                publishable=tuple(draft for draft in call.drafts if draft.id in publishable),
            )
            for call, known in zip(calls, earlier, strict=True)
        ]

    def _register_key(self, connection: Connection, call: NewEmails, now: datetime) -> str | None:
        return idempotency.register_key(
            connection, call.drafts, self._keyring, now=now, expires_at=now + self._window
        )

    def _insert(self, connection: Connection, calls: Sequence[NewEmails], now: datetime) -> Mapping[str, str]:
        """Insert the emails of calls, and apply the rules; return why some were suppressed, by id."""
        rows = [self.new_row(draft, due_at=call.due_at, now=now) for call in calls for draft in call.drafts]
        insert_rows(connection, emails, rows)
        for is_forced in (False, True):  # the first events of forced emails have more columns
            some = [call.drafts for call in calls if call.is_forced is is_forced]
            rows = [row for drafts in some for row in first_events(drafts, now=now)]
            insert_rows(connection, events, rows)
        return self.rules.apply(connection, [draft for call in calls for draft in call.drafts], now=now)

    def _publishable(
        self, connection: Connection, calls: Sequence[NewEmails], refused: Mapping[str, str]
    ) -> frozenset[str]:
        """Return the ids of the emails of calls that may be published, whatever else the log says."""
        if not calls or self.rules.can_delay or not is_empty(connection, pauses.c.name):
            return frozenset()
        return frozenset(
            draft.id
            for call in calls
            for draft in call.drafts
            if draft.id not in refused and draft.request.is_due_at_once
        )

    def record_from_message(
        self, drafts: Sequence[Draft], *, invalid: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Record the emails that a message of another program asks for; known ones stay as they are.

        The message itself carries the first email, unless that is scheduled; a relay publishes the others.

        Args:
            drafts: the emails.
            invalid: what is wrong with those that are recorded as failed, for people, by id.

        Returns:
            Why each suppressed email was suppressed, by id.
        """
        now, failed = self._clock(), invalid or {}
        rows = [self.new_row(draft, due_at=now, now=now) for draft in drafts]
        if drafts[0].request.is_due_at_once:
            rows[0] |= {"state": State.QUEUED, "queued_at": now}
        rows = [
            row | _failure(draft, failed[draft.id]) if draft.id in failed else row
            for draft, row in zip(drafts, rows, strict=True)
        ]
        with writing(self._engine) as connection:
            new = [
                draft
                for draft, row in zip(drafts, rows, strict=True)
                if insert_or_ignore(connection, emails, row)
            ]
            valid = [draft for draft in new if draft.id not in failed]
            for draft in valid:
                text = _received_text(draft)
                append_events(connection, [draft.id], text=text, now=now, code=ReasonCode.RECEIVED)
            for email_id in [draft.id for draft in new if draft.id in failed]:
                text, code = failed[email_id], ReasonCode.INVALID_MESSAGE
                append_events(connection, [email_id], text=text, now=now, code=code)
            return self.rules.apply(connection, valid, now=now)

    def record_failed_message(self, draft: Draft, *, reason: str) -> None:
        """Record a message of another program that fails validation, as a failed email.

        Args:
            draft: stands for the email that the message should have been; its content keeps what was said.
            reason: what is wrong with the message, for people.
        """
        self.record_from_message([draft], invalid={draft.id: reason})

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
        query = _SEALED.where(emails.c.id == email_id)
        with reading(self._engine) as connection:
            row = connection.execute(query).first()
        return None if row is None else self._open(row)

    def contents(self, ids: Collection[str]) -> dict[str, Content | None]:
        """Return the contents of emails by id: None for those that no known key decrypts.

        Emails that are unknown or whose content was deleted are left out.
        """
        query = _SEALED.where(emails.c.id.in_(ids))
        with reading(self._engine) as connection:
            return {row.id: self._open_or_none(row) for row in connection.execute(query)}

    def set_expiry(self, connection: Connection, ids: Collection[str], expires_at: datetime) -> None:
        """Change when emails expire, and seal their contents for that, in a transaction of the caller.

        A content that cannot be opened stays as it is, and is still not opened later.
        """
        rows = connection.execute(_SEALED.where(emails.c.id.in_(ids))).all()
        renewed = {
            row.id: encryption.reseal(
                row.content,
                self._keyring,
                identity_from_row(row),
                changed=replace(identity_from_row(row), expires_at=expires_at),
            )
            for row in rows
        }
        values = [
            {"b_id": row.id, "b_content": renewed[row.id] or row.content, "b_expiry": expires_at}
            for row in rows
        ]
        if values:
            connection.execute(_SET_EXPIRY, values)

    def _open(self, row: Row[Any]) -> Content:
        return encryption.open_sealed(row.content, self._keyring, identity_from_row(row))

    def _open_or_none(self, row: Row[Any]) -> Content | None:
        try:
            return self._open(row)
        except ConfigurationError:
            return None

    def delete_canary(self, canary_id: str) -> None:
        """Delete a canary and its events, in any state; emails are deleted by `Retention` alone."""
        is_canary = and_(emails.c.id == canary_id, emails.c.kind == CANARY.name)
        with writing(self._engine) as connection:
            if connection.execute(delete(emails).where(is_canary).returning(emails.c.id)).first():
                connection.execute(delete(events).where(events.c.email_id == canary_id))


_SEALED: Select[Any] = select(*IDENTITY_COLUMNS, emails.c.content).where(emails.c.content.is_not(None))
_SET_EXPIRY = (
    update(emails)
    .where(emails.c.id == bindparam("b_id"))
    .values(content=bindparam("b_content"), expires_at=bindparam("b_expiry"))
)


def _received_text(draft: Draft) -> str:
    """Return what the first event of an email from a message says; a Celery message does not say its age."""
    content = draft.content
    lifetime = undated_links_lifetime(effective_kind(draft.request.kind, content.template), content)
    text = "received from another program"
    if lifetime is None:
        return text
    length = format_duration(lifetime)
    return f"{text}; its token has no expiry time, so its link counts as valid for {length} from now"


def _failure(draft: Draft, reason: str) -> dict[str, Any]:
    """Return what is different in the row of an email whose message fails validation."""
    values = reason_values(Reason(code=ReasonCode.INVALID_MESSAGE, text=reason))
    values |= {"state": State.FAILED, "queued_at": None}
    return values if draft.content.unvalidated else values | {"content": None}
