"""Claims: who may send an email is decided here alone, for one email or for many in one statement."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, bindparam, insert, or_, select, update

from mailctl.delivery_log.pauses import is_not_paused, return_paused
from mailctl.delivery_log.rule_enforcement import is_not_suppressed, suppress_waiting
from mailctl.delivery_log.storage import encryption
from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.tables import UNINDEXED_STATE, UtcDateTime, emails, events
from mailctl.delivery_log.transitions import CLAIM_CLEARED, StateChange, change_state, reason_values, utc_now
from mailctl.domain.catalog import CANARY
from mailctl.domain.models import Claim, DeliveredClaim, State
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.retry_policy import CONFIG_RETRY_SECONDS
from mailctl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Engine

    from mailctl.security.keyring import Keyring


@dataclass(frozen=True, kw_only=True)
class ClaimResult:
    """What a worker got of what it asked for."""

    claims: list[Claim]
    #: Emails whose content no key opens that this process knows, and why; they are deferred.
    unreadable: list[tuple[str, str]]
    #: Emails whose address was suppressed while they waited, and why.
    suppressed: dict[str, str]


class Claims:
    """Gives emails to workers and takes back what became of them; each has states and events of its own.

    Whoever wins a claim holds a random token, and only that token records the outcome.

    Args:
        engine: of the delivery log's database, its schema current.
        keyring: opens the content.
        lease: how long a claim holds.
        durable: whether a claim is on disk before its email is sent: only then is it known after a power
            failure that the mail server may have it already.
        clock: gives the time.
    """

    def __init__(
        self,
        engine: Engine,
        keyring: Keyring,
        *,
        lease: timedelta,
        durable: bool = True,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._engine = engine
        self._durable = durable
        self._keyring = keyring
        self._lease = lease
        self._clock = clock

    def claim(self, ids: Collection[str], *, worker: str, are_canaries: bool = False) -> ClaimResult:
        """Take those of the emails that are to be sent and that nobody else has.

        Args:
            worker: who takes them, for the operator.
            are_canaries: whether to take canaries instead of emails: each ends as only its own task says.

        Raises:
            LogUnavailable: the delivery log cannot be used; nothing is taken.
        """
        now, token = self._clock(), secrets.token_hex(16)
        parameters = {
            "ids": list(ids),
            "now": now,
            "token": token,
            "lease_until": now + self._lease,
            "by_worker": worker,
        }
        with writing(self._engine, durable=self._durable) as connection:
            take = _CLAIM_CANARIES if are_canaries else _CLAIM_EMAILS
            rows = take.run(connection, parameters, text="", now=now)
            suppressed = {}
            if len(rows) < len(ids):
                suppressed = suppress_waiting(connection, ids, worker=worker, now=now)
            if len(rows) + len(suppressed) < len(ids):
                return_paused(connection, ids, now=now)
        taken = ClaimResult(claims=[], unreadable=[], suppressed=suppressed)
        for row in rows:
            try:
                content = encryption.open_sealed(row.content, self._keyring)
            except ConfigurationError as error:
                taken.unreadable.append((row.id, str(error)))
                self._defer_unreadable(row.id, token, reason=str(error))
            else:
                taken.claims.append(
                    Claim(
                        id=row.id,
                        kind=row.kind,
                        attempts=row.attempts,
                        created_at=row.created_at,
                        expires_at=row.expires_at,
                        worker=worker,
                        token=token,
                        content=content,
                    )
                )
        return taken

    def extend(self, claims: Sequence[Claim]) -> None:
        """Prolong the leases of claims that are still ours."""
        prolonged = (
            update(emails)
            .where(_are_ours(claims), UNINDEXED_STATE == State.SENDING)
            .values(lease_until=self._clock() + self._lease)
        )
        with writing(self._engine) as connection:
            connection.execute(prolonged)

    def finish(self, ended: Sequence[DeliveredClaim]) -> list[str]:
        """Record that emails went where they should.

        Returns:
            The ids of those that were not recorded, because somebody else has them by now.
        """
        now = self._clock()
        rows = {end.claim.id: _finished_row(end, now) for end in ended}
        recorded = {end.claim.id: _event(end, now) for end in ended}
        parameters = {"ids": list(rows), "tokens": list({end.claim.token for end in ended})}
        # Should this be lost, the emails count as in doubt, which they are until then anyway.
        with writing(self._engine, durable=False) as connection:
            ours = connection.execute(_SELECT_STILL_CLAIMED, parameters).scalars().all()
            if ours:
                connection.execute(_FINISH, [rows[email_id] for email_id in ours])
                connection.execute(_INSERT_EVENTS, [recorded[email_id] for email_id in ours])
        return [email_id for email_id in rows if email_id not in set(ours)]

    def return_unstarted(self, ids: Collection[str], *, reason: str) -> None:
        """Put back into the log what a batch had no time for; a relay publishes it again."""
        now = self._clock()
        values = {"due_at": now, "queued_at": None, "queued_in": None}
        is_unclaimed = and_(emails.c.id.in_(ids), UNINDEXED_STATE == State.QUEUED)
        with writing(self._engine) as connection:
            change_state(
                connection,
                is_unclaimed,
                State.PENDING,
                text=reason,
                values=values,
                now=now,
                code=ReasonCode.NOT_STARTED,
            )

    def _defer_unreadable(self, email_id: str, token: str, *, reason: str) -> None:
        now = self._clock()
        until = now + timedelta(seconds=CONFIG_RETRY_SECONDS)
        code = ReasonCode.UNREADABLE_CONTENT
        values = CLAIM_CLEARED | reason_values(Reason(code=code, text=reason))
        values |= {"due_at": until, "not_before": until, "attempts": emails.c.attempts - 1}
        is_ours = and_(emails.c.id == email_id, emails.c.claim == token)
        with writing(self._engine) as connection:
            change_state(connection, is_ours, State.DEFERRED, text=reason, values=values, now=now, code=code)


_HAS_GIVEN_ID = emails.c.id.in_(bindparam("ids", expanding=True))


def _build_claim(where: ColumnElement[bool]) -> StateChange:
    return StateChange(
        and_(
            _HAS_GIVEN_ID,
            where,
            or_(emails.c.not_before.is_(None), emails.c.not_before <= bindparam("now", type_=UtcDateTime)),
            is_not_paused(),
            is_not_suppressed(),
        ),
        State.SENDING,
        values={
            "claim": bindparam("token"),
            "lease_until": bindparam("lease_until"),
            "attempts": emails.c.attempts + 1,
            "worker": bindparam("by_worker"),
            "queued_in": None,
        },
        returning=(
            emails.c.kind,
            emails.c.created_at,
            emails.c.expires_at,
            emails.c.content,
        ),
    )


_CLAIM_EMAILS = _build_claim(emails.c.kind != CANARY.name)
_CLAIM_CANARIES = _build_claim(emails.c.kind == CANARY.name)
_SELECT_STILL_CLAIMED = (
    select(emails.c.id)
    .where(
        _HAS_GIVEN_ID,
        emails.c.claim.in_(bindparam("tokens", expanding=True)),
        UNINDEXED_STATE == State.SENDING,
    )
    .with_for_update()
)
_INSERT_EVENTS = insert(events)
_FINISH = (
    update(emails)
    .where(emails.c.id == bindparam("b_id"))
    .values(
        state=bindparam("b_state"),
        updated_at=bindparam("b_now"),
        sent_at=bindparam("b_now"),
        message_id=bindparam("b_message_id"),
        smtp_code=bindparam("b_code"),
        smtp_enhanced=bindparam("b_enhanced"),
        smtp_text=bindparam("b_text"),
        captured_file=bindparam("b_captured_file"),
        content=None,
        **reason_values(None),
        claim=None,
        lease_until=None,
    )
)


def _are_ours(claims: Sequence[Claim]) -> Any:
    return and_(
        emails.c.id.in_([claim.id for claim in claims]),
        emails.c.claim.in_({claim.token for claim in claims}),
    )


def _finished_row(end: DeliveredClaim, now: datetime) -> dict[str, Any]:
    reply = end.outcome.reply
    return {
        "b_id": end.claim.id,
        "b_state": end.state,
        "b_now": now,
        "b_message_id": end.message_id,
        "b_code": reply.code,
        "b_enhanced": reply.enhanced,
        "b_text": reply.text or None,
        "b_captured_file": end.outcome.captured_file,
    }


def _event(end: DeliveredClaim, now: datetime) -> dict[str, Any]:
    claim = end.claim
    return {
        "email_id": claim.id,
        "at": now,
        "state": end.state,
        "attempt": claim.attempts,
        "worker": claim.worker,
        "code": end.outcome.reply.code,
        "text": str(end.outcome),
    }
