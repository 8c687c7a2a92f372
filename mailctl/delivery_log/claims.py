"""Claims: the one place that decides which worker may send an email, for one or many emails at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, bindparam, update

from mailctl.delivery_log.campaign_rates import return_to_log
from mailctl.delivery_log.claim_tokens import new_claim_token
from mailctl.delivery_log.due import may_start
from mailctl.delivery_log.email_routes import ROUTE_COLUMNS, RoutableEmail, record_plans
from mailctl.delivery_log.pauses import is_not_paused, return_paused
from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.rows import identity_from_row
from mailctl.delivery_log.rule_enforcement import is_not_suppressed, suppress_waiting
from mailctl.delivery_log.storage import encryption
from mailctl.delivery_log.storage.batches import is_among
from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.tables import UNINDEXED_STATE, emails
from mailctl.delivery_log.storage.utc_time import UtcDateTime
from mailctl.delivery_log.transitions import CLAIM_CLEARED, StateChange, change_state, reason_values
from mailctl.domain.catalog import CANARY
from mailctl.domain.lease import Lease
from mailctl.domain.models import Claim
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.retry_policy import CONFIG_RETRY_SECONDS
from mailctl.domain.states import State
from mailctl.errors import ConfigurationError
from mailctl.process.boot_clock import boottime

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine, Row

    from mailctl.domain.models import Content
    from mailctl.domain.routing import ServerOrder, ServerPlan
    from mailctl.security.keyring import Keyring

    #: Returns the order of mail servers for an email, and the plan of its attempt.
    Planner = Callable[[RoutableEmail], tuple[ServerOrder, ServerPlan]]


@dataclass(frozen=True, kw_only=True)
class ClaimResult:
    """The emails that a worker has claimed, and those that it could not claim."""

    claims: list[Claim]
    #: The ids of emails whose content no known key decrypts, with the reason; they are deferred.
    unreadable: list[tuple[str, str]]
    #: Emails whose address was suppressed while they waited, with the reason, by id.
    suppressed: dict[str, str]


class Claims(Repository):
    """Gives emails to workers for the duration of a lease.

    A claim holds a random token, and only the holder of the token can record the result of the attempt.

    Args:
        engine: of the delivery log's database, with the current schema.
        keyring: decrypts the content.
        lease: how long a claim holds.
        durable: whether a claim is on disk before its email is sent: otherwise a crash of the database server
            or a power failure hides that the mail server may have accepted the email already.
        clock: returns the current time, aware; None takes the clock of the log.
    """

    def __init__(
        self,
        engine: Engine,
        keyring: Keyring,
        *,
        lease: timedelta,
        durable: bool = True,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        super().__init__(engine, clock=clock)
        self._keyring = keyring
        self._lease = lease
        self._durable = durable

    def claim(
        self,
        ids: Collection[str],
        *,
        worker: str,
        are_canaries: bool = False,
        planner: Planner | None = None,
    ) -> ClaimResult:
        """Claim those of the emails that are to be sent and that no other worker has claimed.

        Args:
            worker: the node name of the worker, shown to operators.
            are_canaries: whether to claim canaries instead of emails: only their own task ends them.
            planner: plans by which mail server each email goes; None if there is only one.

        Raises:
            LogUnavailable: the delivery log cannot be used; nothing is claimed.
        """
        asked_at = boottime()
        now, token = self._clock(), new_claim_token()
        plans: Mapping[str, ServerPlan] = {}
        with writing(self._engine, durable=self._durable) as connection:
            statement = _CLAIM_CANARIES if are_canaries else _CLAIM_ROUTED if planner else _CLAIM_EMAILS
            rows = self._claim_rows(connection, statement, ids, token, worker=worker, now=now)
            if planner is not None:
                plans = record_plans(connection, rows, planner)
            suppressed = {}
            if len(rows) < len(ids):
                suppressed = suppress_waiting(connection, ids, worker=worker, now=now)
            if len(rows) + len(suppressed) < len(ids):
                return_paused(connection, ids, now=now)
        result = ClaimResult(claims=[], unreadable=[], suppressed=suppressed)
        for row in rows:
            try:
                claim = self._to_claim(row, token, worker=worker, asked_at=asked_at)
                result.claims.append(replace(claim, plan=plans[row.id]) if plans else claim)
            except ConfigurationError as error:
                result.unreadable.append((row.id, str(error)))
                self._defer_unreadable(row.id, token, problem=str(error))
        return result

    def _claim_rows(
        self,
        connection: Connection,
        statement: StateChange,
        ids: Collection[str],
        token: str,
        *,
        worker: str,
        now: datetime,
    ) -> Sequence[Row[Any]]:
        parameters = {
            "ids": list(ids),
            "now": now,
            "token": token,
            "lease_until": now + self._lease,
            "by_worker": worker,
        }
        return statement.run(connection, parameters, text="", now=now)

    def _to_claim(self, row: Row[Any], token: str, *, worker: str, asked_at: float) -> Claim:
        content = encryption.open_sealed(row.content, self._keyring, identity_from_row(row))
        lease = Lease(seconds=self._lease.total_seconds(), asked_at=asked_at)
        return claim_of(
            row, token, worker=worker, content=content, lease=lease, can_unsubscribe=row.can_unsubscribe
        )

    def extend(self, claims: Sequence[Claim]) -> None:
        """Extend the leases of those of the claims that still hold; those of the others have ended.

        Raises:
            LogUnavailable: the delivery log cannot be used; the leases end when they would have.
        """
        asked_at = boottime()
        parameters = {
            "ids": [claim.id for claim in claims],
            "tokens": list({claim.token for claim in claims}),
            "until": self._clock() + self._lease,
        }
        with writing(self._engine) as connection:
            held = set(connection.execute(_EXTEND, parameters).scalars())
        for claim in claims:
            if claim.id in held:
                claim.lease.renew(asked_at=asked_at)
            else:
                claim.lease.lose()

    def return_unstarted(self, ids: Collection[str], *, reason: str) -> int:
        """Return published emails that no worker has claimed to the log; a relay publishes them again.

        Args:
            reason: why their message did not reach them, for operators.

        Returns:
            How many emails there were.
        """
        now = self._clock()
        values = {"due_at": now, "queued_at": None, "queued_in": None}
        is_unclaimed = and_(emails.c.id.in_(ids), UNINDEXED_STATE == State.QUEUED)
        with writing(self._engine) as connection:
            returned = return_to_log(
                connection,
                is_unclaimed,
                text=reason,
                values=values,
                now=now,
                code=ReasonCode.NOT_STARTED,
            )
        return len(returned)

    def _defer_unreadable(self, email_id: str, token: str, *, problem: str) -> None:
        now, code = self._clock(), ReasonCode.UNREADABLE_CONTENT
        until = now + timedelta(seconds=CONFIG_RETRY_SECONDS)
        values = CLAIM_CLEARED | reason_values(Reason(code=code, text=problem))
        values |= {"due_at": until, "not_before": until, "attempts": emails.c.attempts - 1}
        is_held = and_(emails.c.id == email_id, emails.c.claim == token)
        with writing(self._engine) as connection:
            change_state(connection, is_held, State.DEFERRED, text=problem, values=values, now=now, code=code)


def claim_of(
    row: Row[Any],
    token: str,
    *,
    worker: str,
    content: Content,
    lease: Lease,
    can_unsubscribe: bool = False,
) -> Claim:
    """Return the claim of an email whose row has just been claimed."""
    return Claim(
        id=row.id,
        kind=row.kind,
        attempts=row.attempts,
        created_at=row.created_at,
        expires_at=row.expires_at,
        worker=worker,
        token=token,
        content=content,
        lease=lease,
        can_unsubscribe=can_unsubscribe,
    )


def _build_claim(where: ColumnElement[bool], *, returning: Sequence[ColumnElement[Any]] = ()) -> StateChange:
    return StateChange(
        and_(
            is_among(emails.c.id, "ids"),
            where,
            may_start(bindparam("now", type_=UtcDateTime)),
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
            emails.c.to_address,
            emails.c.created_at,
            emails.c.expires_at,
            emails.c.content,
            emails.c.can_unsubscribe,
            *returning,
        ),
    )


_EXTEND = (
    update(emails)
    .where(is_among(emails.c.id, "ids"), is_among(emails.c.claim, "tokens"), UNINDEXED_STATE == State.SENDING)
    .values(lease_until=bindparam("until", type_=UtcDateTime))
    .returning(emails.c.id)
)
_CLAIM_EMAILS = _build_claim(emails.c.kind != CANARY.name)
#: The same where mail servers are chosen; id, kind and address are returned already.
_CLAIM_ROUTED = _build_claim(
    emails.c.kind != CANARY.name,
    returning=[column for column in ROUTE_COLUMNS if column.name not in ("id", "kind", "to_address")],
)
_CLAIM_CANARIES = _build_claim(emails.c.kind == CANARY.name)
