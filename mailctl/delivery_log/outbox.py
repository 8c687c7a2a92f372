"""The life of an email in the delivery log: recorded, published, claimed, finished or deferred.

Who may send an email is decided by `claim` alone: whoever wins it holds a random token, and only that token
records the outcome.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, bindparam, delete, or_, select, update

from mailctl.delivery_log import idempotency
from mailctl.delivery_log.pauses import is_not_paused
from mailctl.delivery_log.rows import EMAIL_COLUMNS, email_from_row
from mailctl.delivery_log.rule_enforcement import Rules
from mailctl.delivery_log.storage import encryption
from mailctl.delivery_log.storage.engine import flush, reading, writing
from mailctl.delivery_log.storage.raw_insert import insert_rows, is_empty
from mailctl.delivery_log.storage.tables import emails, events, pauses
from mailctl.delivery_log.suppressions import is_dead_mailbox, suppress_dead_mailbox
from mailctl.delivery_log.transitions import (
    CLAIM_CLEARED,
    StateChange,
    append_events,
    change_state,
    insert_or_ignore,
    utc_now,
)
from mailctl.domain.catalog import CANARY
from mailctl.domain.models import (
    CLAIMABLE_STATES,
    DELIVERED_STATES,
    MAYBE_SENT,
    Claim,
    Content,
    Draft,
    Email,
    Outcome,
    OutcomeKind,
    State,
)
from mailctl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine, Row

    from mailctl.security.keyring import Keyring

#: Seconds for which a relay keeps a due email to itself; should it fail, another tries after that.
RESERVE_SECONDS = 5
_MARK_QUEUED = StateChange(
    and_(
        emails.c.id.in_(bindparam("ids", expanding=True)),
        # Not what a worker has put back meanwhile, which was faster than this note.
        or_(emails.c.not_before.is_(None), emails.c.not_before <= bindparam("moment")),
    ),
    State.QUEUED,
    values={"queued_at": bindparam("moment"), "queued_in": bindparam("queued_in")},
)
#: How the reason begins why an email waits for the mail server.
OUTAGE_REASON_PREFIX = "kept back: "


@dataclass(frozen=True, kw_only=True)
class RecordResult:
    """What the log has of one call."""

    #: Of the first email; that of an earlier call with the same idempotency key, if there was one.
    id: str
    #: Those that nothing keeps from going out now. Of the others the log has to be asked.
    publishable: tuple[Draft, ...] = field(default=(), repr=False)


class Outbox:
    """Records emails and moves them on.

    Args:
        engine: of the delivery log's database, its schema current.
        keyring: seals the content.
        lease: how long a claim holds.
        idempotency_window: how long a key is remembered.
        rules: what keeps an email from going out; None takes suppression alone.
        clock: gives the time.
    """

    def __init__(
        self,
        engine: Engine,
        keyring: Keyring,
        *,
        lease: timedelta,
        idempotency_window: timedelta,
        rules: Rules | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._engine = engine
        self._keyring = keyring
        self._lease = lease
        self._window = idempotency_window
        self.rules = rules or Rules()
        self._clock = clock

    def add(self, drafts: Sequence[Draft], *, due_at: datetime, is_lasting: bool = True) -> RecordResult:
        """Record the emails of one call, pending; the rules suppress some of them, or let them wait.

        Args:
            drafts: one per recipient; the first one's id and idempotency key stand for all.
            due_at: when a relay may publish them.
            is_lasting: whether they are on disk when this returns; else `flush` brings them there.

        Raises:
            IdempotencyConflict: that earlier call had other content.
            LogUnavailable: the log cannot be written.
        """
        with writing(self._engine, is_lasting=is_lasting) as connection:
            return self.add_in_transaction(connection, drafts, due_at=due_at)

    def add_in_transaction(
        self, connection: Connection, drafts: Sequence[Draft], *, due_at: datetime
    ) -> RecordResult:
        """Record like `add`, in a transaction of the caller's."""
        now = self._clock()
        earlier = idempotency.register_key(
            connection, drafts, self._keyring, now=now, expires_at=now + self._window
        )
        if earlier is not None:
            return RecordResult(id=earlier)
        rows = [self.build_row(draft, state=State.PENDING, due_at=due_at, now=now) for draft in drafts]
        insert_rows(connection, emails, rows)
        insert_rows(connection, events, first_events(drafts, now=now))
        refused = self.rules.apply(connection, drafts, now=now)
        free: tuple[Draft, ...] = ()
        if not self.rules.can_delay and is_empty(connection, pauses.c.name):
            free = tuple(each for each in drafts if each.id not in refused and each.request.is_due_at_once)
        return RecordResult(id=drafts[0].id, publishable=free)

    def record_from_message(self, drafts: Sequence[Draft]) -> dict[str, str]:
        """Record what one message of another program asks for; what is known already stays as it is.

        The message carries the first, unless that waits for a time; the others are published by a relay.

        Returns:
            Why, for each that the rules have suppressed, by id.
        """
        now = self._clock()
        rows = [self.build_row(draft, state=State.PENDING, due_at=now, now=now) for draft in drafts]
        if drafts[0].request.is_due_at_once:
            rows[0] |= {"state": State.QUEUED, "queued_at": now}
        with writing(self._engine) as connection:
            new = [
                draft
                for draft, row in zip(drafts, rows, strict=True)
                if insert_or_ignore(connection, emails, row)
            ]
            ids = [draft.id for draft in new]
            append_events(connection, ids, text="received from another program", now=now)
            return self.rules.apply(connection, new, now=now)

    def record_failed_message(self, draft: Draft, *, reason: str) -> None:
        """Record a message of another program that can never become an email, as failed."""
        now = self._clock()
        row = self.build_row(draft, state=State.FAILED, due_at=now, now=now) | {
            "content": None,
            "error": reason,
        }
        with writing(self._engine) as connection:
            if insert_or_ignore(connection, emails, row):
                append_events(connection, [row["id"]], text=reason, now=now)

    def reserve_due(self, *, limit: int) -> list[Email]:
        """Return emails that should be on the broker by now; those of campaigns are not among them.

        Each is kept from other relays for `RESERVE_SECONDS`; `mark_queued` then says that it was published.
        """
        now = self._clock()
        found: list[Email] = []
        with writing(self._engine) as connection:
            # Each state is asked for by itself, so that the index gives the first ones at once.
            for state in (State.DEFERRED, State.PENDING):
                found += _reserve(connection, state, limit=limit - len(found), now=now)
        return found

    def content(self, email_id: str) -> Content | None:
        """Return what an email is made of; None if it is scrubbed or unknown.

        Raises:
            ConfigurationError: it was sealed with a key that this process does not know.
        """
        query = select(emails.c.content).where(emails.c.id == email_id)
        with reading(self._engine) as connection:
            sealed = connection.execute(query).scalar()
        return None if sealed is None else encryption.open_sealed(sealed, self._keyring)

    def contents(self, ids: Collection[str]) -> dict[str, Content | None]:
        """Return what emails are made of, by id; None for what no key opens that this process knows.

        Those that are scrubbed or unknown are left out.
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

    def postpone_publishing(self, email_id: str, *, until: datetime, reason: str) -> None:
        """Note why a due email could not be published, and when a relay should look at it again."""
        is_waiting = and_(emails.c.id == email_id, emails.c.state.in_([State.PENDING, State.DEFERRED]))
        with writing(self._engine) as connection:
            connection.execute(update(emails).where(is_waiting).values(due_at=until, error=reason))

    def mark_queued(self, ids: Collection[str], *, held_in: str | None = None) -> int:
        """Say that messages for these emails are on the broker now.

        Args:
            held_in: the id of the worker in whose memory they are; None where they outlive their publisher.

        Returns:
            How many of them were still waiting for it.
        """
        now = self._clock()
        parameters = {"ids": list(ids), "queued_in": held_in}
        # Should this be lost, they are published twice, and claimed once.
        with writing(self._engine, is_lasting=False) as connection:
            return len(_MARK_QUEUED.run(connection, parameters, text="published to the broker", now=now))

    def flush(self) -> None:
        """Bring to disk what was recorded without lasting."""
        flush(self._engine)

    def postpone_for_outage(self, email_id: str, *, until: datetime, reason: str) -> bool:
        """Put a published email back while the mail server does not work; return whether that was done."""
        now = self._clock()
        is_due = and_(emails.c.id == email_id, or_(emails.c.not_before.is_(None), emails.c.not_before <= now))
        is_published = and_(is_due, emails.c.state.in_([State.QUEUED, State.DEFERRED]))
        text = OUTAGE_REASON_PREFIX + reason
        values = {"due_at": until, "not_before": until, "error": text, "queued_at": None, "queued_in": None}
        with writing(self._engine) as connection:
            # Its message may have overtaken the note that it was published. This is asked first: it waits for
            # a publisher that is writing the note.
            is_overtaken = and_(is_due, emails.c.state == State.PENDING)
            kept = update(emails).where(is_overtaken).values(**values, updated_at=now)
            if connection.execute(kept).rowcount:
                append_events(connection, [email_id], text=text, now=now)
                return True
            return bool(
                change_state(connection, is_published, State.PENDING, text=text, values=values, now=now)
            )

    def release_after_outage(self) -> int:
        """Let everything that was kept back go out now; return how many."""
        now = self._clock()
        is_kept = and_(emails.c.state == State.PENDING, emails.c.error.startswith(OUTAGE_REASON_PREFIX))
        values = {"due_at": now, "not_before": None, "error": None}
        with writing(self._engine) as connection:
            return connection.execute(update(emails).where(is_kept).values(**values)).rowcount

    def fail_unpublishable(self, email_id: str, *, reason: str) -> None:
        """Record that an email can never be published."""
        is_waiting = and_(emails.c.id == email_id, emails.c.state.in_([State.PENDING, State.DEFERRED]))
        self._change_state(is_waiting, State.FAILED, text=reason, values={"error": reason})

    def delete_canary(self, email_id: str) -> None:
        """Remove a canary and its events, whatever state it is in; emails are for `prune` alone."""
        is_canary = and_(emails.c.id == email_id, emails.c.kind == CANARY.name)
        with writing(self._engine) as connection:
            if connection.execute(delete(emails).where(is_canary).returning(emails.c.id)).first():
                connection.execute(delete(events).where(events.c.email_id == email_id))

    def suppress(self, email_id: str, *, reason: str) -> None:
        """Record that a rule keeps an email that nobody sends from going out."""
        is_free = and_(emails.c.id == email_id, emails.c.state.in_(CLAIMABLE_STATES))
        self._change_state(is_free, State.SUPPRESSED, text=reason, values={"error": reason})

    def finish(
        self,
        claim: Claim,
        state: State,
        *,
        outcome: Outcome | None = None,
        reason: str = "",
        message_id: str | None = None,
    ) -> bool:
        """Record the end of a claimed email; an address that turned out not to exist is suppressed.

        Args:
            state: a final one, or held.
            outcome: what the mail server said, if it was asked.
            reason: why it was not delivered; "" where it was.

        Returns:
            Whether it was recorded; False if the claim is not ours any more.
        """
        values = _reply_values(outcome) | {"error": reason or None, "message_id": message_id} | CLAIM_CLEARED
        if state in DELIVERED_STATES:
            values |= {"sent_at": self._clock(), "content": None}
        text = reason or (str(outcome) if outcome else "")
        now = self._clock()
        with writing(self._engine) as connection:
            dead = (
                outcome
                if outcome is not None and state is State.FAILED and is_dead_mailbox(outcome)
                else None
            )
            text += "; the address is suppressed from now on" if dead else ""
            ended = change_state(connection, _is_ours(claim), state, text=text, values=values, now=now)
            if ended and dead:
                suppress_dead_mailbox(connection, claim.content.user.email, dead, now=now)
        return bool(ended)

    def defer(
        self, claim: Claim, *, until: datetime, outcome: Outcome, counts: bool, message_id: str | None
    ) -> bool:
        """Record that a claimed email has to be tried again.

        Args:
            until: not before this time.
            counts: whether the attempt was one of the email's own.

        Returns:
            Whether it was recorded; False if the claim is not ours any more.
        """
        values = _reply_values(outcome) | CLAIM_CLEARED
        values |= {"due_at": until, "not_before": until, "error": str(outcome), "message_id": message_id}
        if not counts:
            values["attempts"] = emails.c.attempts - 1
        text = f"{outcome.kind} {outcome.text_with_stage}" if outcome.stage else str(outcome)
        if outcome.kind is OutcomeKind.AMBIGUOUS:
            text += f"; {MAYBE_SENT}"
        return bool(self._change_state(_is_ours(claim), State.DEFERRED, text=text, values=values))

    def _change_state(
        self, where: ColumnElement[bool], target: State, *, text: str, values: dict[str, Any]
    ) -> Sequence[Row[Any]]:
        with writing(self._engine) as connection:
            return change_state(connection, where, target, text=text, values=values, now=self._clock())

    def build_row(self, draft: Draft, *, state: State, due_at: datetime, now: datetime) -> dict[str, Any]:
        """Return an email as it is recorded, its content sealed."""
        request, user = draft.request, draft.content.user
        return {
            "id": draft.id,
            "kind": draft.kind,
            "state": state,
            "queue": draft.queue,
            # In lower case, as rules count: whoever writes an address otherwise gets no more for it.
            "to_address": user.email.lower(),
            "user_id": user.id,
            "content": encryption.seal(draft.content, self._keyring),
            "attempts": 0,
            "created_at": draft.created_at,
            "updated_at": now,
            "due_at": request.earliest_start(due_at),
            "not_before": request.not_before,
            "expires_at": draft.expires_at,
            "group_id": draft.group_id,
            "campaign": request.campaign,
            "is_forced": request.forced_by is not None,
        }


def first_events(drafts: Sequence[Draft], *, now: datetime) -> list[dict[str, Any]]:
    """Return the first events of emails that are new and pending, all of one call."""
    forced_by = drafts[0].request.forced_by if drafts else None
    event = {
        "at": now,
        "state": State.PENDING,
        "attempt": 0,
        "text": "recorded" if forced_by is None else "recorded; no rule keeps it back",
        "actor": forced_by,
    }
    return [{"email_id": draft.id, **event} for draft in drafts]


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


def _is_ours(claim: Claim) -> ColumnElement[bool]:
    return and_(emails.c.id == claim.id, emails.c.claim == claim.token, emails.c.state == State.SENDING)


def _reply_values(outcome: Outcome | None) -> dict[str, Any]:
    if outcome is None:
        return {}
    reply = outcome.reply
    return {"smtp_code": reply.code, "smtp_enhanced": reply.enhanced, "smtp_text": reply.text or None}
