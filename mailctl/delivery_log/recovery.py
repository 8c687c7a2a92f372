"""Recovery: expired leases, messages that the broker lost, expired emails, and wrong clocks."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, ScalarSelect, and_, delete, func, not_, or_, select, true, update
from sqlalchemy import text as sql_text

from mailctl.delivery_log.campaign_rates import return_to_log
from mailctl.delivery_log.claim_tokens import PROCESS_MARK_LENGTH, process_mark, worker_mark
from mailctl.delivery_log.due import message_queue
from mailctl.delivery_log.own_task_emails import MAY_BE_SENT_WITHOUT_LOG, hold_as_unknown
from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.partial_indices import IS_CLAIMABLE
from mailctl.delivery_log.storage.tables import UNINDEXED_STATE, circuits, emails, events, idempotency_keys
from mailctl.delivery_log.transitions import CLAIM_CLEARED, change_state, reason_values
from mailctl.domain.models import MAYBE_SENT
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.retry_policy import IN_DOUBT, MIN_REMAINING_LIFETIME_SECONDS
from mailctl.domain.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from sqlalchemy import Connection, Table

_IS_OWN = emails.c.is_own_task.is_(True)
_BROKER_LOST = Reason(code=ReasonCode.BROKER_LOST, text="the broker lost its message")


def _count_doubts() -> ScalarSelect[int]:
    """Return the number of attempts in doubt of an email since an operator has last acted on it."""
    earlier = events.alias()
    last_action = (
        select(func.coalesce(func.max(earlier.c.seq), 0))
        .where(earlier.c.email_id == emails.c.id, earlier.c.actor.is_not(None))
        .correlate(emails)
        .scalar_subquery()
    )
    return (
        select(func.count())
        .select_from(events)
        .where(
            events.c.email_id == emails.c.id,
            events.c.reason_code.in_(sorted(IN_DOUBT)),
            events.c.seq > last_action,
        )
        .correlate(emails)
        .scalar_subquery()
    )


def _has_rows(connection: Connection, table: Table, where: ColumnElement[bool]) -> bool:
    return connection.execute(select(true()).select_from(table).where(where).limit(1)).first() is not None


class Recovery(Repository):
    """Finds emails that are stuck, and changes their state so that they are sent or finished."""

    def release_stale(self, *, max_resends: int) -> int:
        """Release emails whose worker let the lease run out; return how many.

        Args:
            max_resends: how often an email is sent again although the mail server may have accepted it
                already, until it is held for an operator. Emails of the service's own tasks are always held.
        """
        is_stale = and_(emails.c.state == State.SENDING, emails.c.lease_until < self._clock())
        why, code = "its worker disappeared while sending", ReasonCode.WORKER_DISAPPEARED
        return self._release(is_stale, why=why, code=code, max_resends=max_resends)

    def release_of_dead_processes(
        self, *, list_alive: Callable[[], Collection[int]], max_resends: int
    ) -> int:
        """Release emails that processes of this worker were sending when they died; return how many.

        Args:
            list_alive: returns the ids of all processes of this worker that may be sending. It is called
                after the log was read: whoever has claimed something by then was alive until then.
            max_resends: as `release_stale`.
        """
        is_of_worker = and_(emails.c.state == State.SENDING, emails.c.claim.startswith(worker_mark()))
        mark = func.substr(emails.c.claim, 1, PROCESS_MARK_LENGTH)
        with reading(self._engine) as connection:
            marks = set(connection.execute(select(mark).where(is_of_worker).distinct()).scalars())
        dead = marks.difference(process_mark(pid) for pid in list_alive()) if marks else ()
        if not dead:
            return 0
        is_sending = and_(is_of_worker, mark.in_(sorted(dead)))
        why, code = "a process of its worker died while sending", ReasonCode.PROCESS_DIED
        return self._release(is_sending, why=why, code=code, max_resends=max_resends)

    def _release(self, where: ColumnElement[bool], *, why: str, code: ReasonCode, max_resends: int) -> int:
        """Release emails that nobody is sending any more, and that the mail server may have accepted."""
        # Mostly there are none, and then nothing waits for the lock of a transaction that writes.
        if not self._has_any(where):
            return 0
        text = f"{why}; {MAYBE_SENT}"
        self._hold_own(where, why=why)
        where = and_(where, ~_IS_OWN)
        in_doubt = CLAIM_CLEARED | {"maybe_sent": True} | reason_values(Reason(code=code, text=text))
        is_spent = and_(where, _count_doubts() >= max_resends)
        held = self._change_state(is_spent, State.HELD, text=text, code=code, values=in_doubt)
        values = in_doubt | {"due_at": self._clock(), "not_before": None}
        text += " (same Message-ID)"
        return held + self._change_state(where, State.PENDING, text=text, code=code, values=values)

    def return_lost(self, *, queue: str, queued_before: datetime, on_broker: int) -> int:
        """Return emails whose messages the broker lost to the log; return how many.

        A queue is first in, first out: of the emails published to it, only the last `on_broker` can still be
        there. Emails that a task without this log may send are counted, but are not returned; see
        `OwnTaskEmails`.

        Args:
            queued_before: only emails that were published earlier: a message takes a moment to be claimed.
            on_broker: how many emails can be in the messages that the broker has for this queue, waiting or
                delivered to a worker.
        """
        is_queued = and_(
            emails.c.state == State.QUEUED, message_queue() == queue, emails.c.queued_in.is_(None)
        )
        newest_first = (
            select(emails.c.id)
            .where(is_queued)
            .order_by(emails.c.queued_at.desc(), emails.c.seq.desc())
            .offset(on_broker)
        )
        is_lost = and_(
            is_queued,
            ~MAY_BE_SENT_WITHOUT_LOG,
            emails.c.id.in_(newest_first.scalar_subquery()),
            emails.c.queued_at < queued_before,
        )
        # Counted first, without the lock: mostly nothing is lost, and sorting the emails takes long.
        with reading(self._engine) as connection:
            count = connection.execute(select(func.count()).where(is_queued)).scalar_one()
        if count <= on_broker:
            return 0
        return self._return_to_pending(is_lost, _BROKER_LOST)

    def return_lost_full_messages(self, ids: Collection[str]) -> int:
        """Return to the log emails that were published in full and that the broker lost; return how many."""
        is_lost = and_(emails.c.id.in_(ids), UNINDEXED_STATE == State.QUEUED, emails.c.is_in_full.is_(True))
        return self._return_to_pending(is_lost, _BROKER_LOST)

    def return_groups(self) -> int:
        """Return emails of published groups to the log, as no worker takes groups; return how many."""
        is_in_group = and_(emails.c.state == State.QUEUED, emails.c.is_grouped.is_(True))
        text = "no worker takes groups of emails any more"
        return self._return_to_pending(is_in_group, Reason(code=ReasonCode.WORKER_LOST, text=text))

    def return_orphans(self, *, alive: Collection[str]) -> int:
        """Return emails whose messages were in the memory of dead workers to the log; return how many.

        Those of the service's own tasks are held: such a worker may have sent them.

        Args:
            alive: the ids of the workers that are alive.
        """
        is_orphan = and_(
            # Not `IS NOT NULL`, for which SQLite does not use the partial index.
            emails.c.queued_in > "",
            emails.c.queued_in.not_in(alive),
            UNINDEXED_STATE == State.QUEUED,
        )
        if not self._has_any(is_orphan):
            return 0
        text = "the worker that held its message is gone"
        self._hold_own(is_orphan, why=text)
        return self._return_to_pending(
            and_(is_orphan, ~_IS_OWN), Reason(code=ReasonCode.WORKER_LOST, text=text)
        )

    def expire(self) -> int:
        """Expire emails that have too little lifetime left to be worth sending, and idempotency keys.

        Emails that a task without this log may have sent in time are left out; see `OwnTaskEmails.expire`.

        Returns:
            How many emails expired.
        """
        now = self._clock()
        limit = now + timedelta(seconds=MIN_REMAINING_LIFETIME_SECONDS)
        # The condition of the partial index, literally, so that the index is used.
        is_late = and_(
            sql_text(IS_CLAIMABLE),
            emails.c.expires_at < limit,
            not_(and_(UNINDEXED_STATE == State.QUEUED, MAY_BE_SENT_WITHOUT_LOG)),
        )
        is_old = idempotency_keys.c.expires_at <= now
        with reading(self._engine) as connection:
            if not (
                _has_rows(connection, emails, is_late) or _has_rows(connection, idempotency_keys, is_old)
            ):
                return 0
        reason = Reason(code=ReasonCode.EXPIRED, text="it expired before it could be sent")
        with writing(self._engine) as connection:
            connection.execute(delete(idempotency_keys).where(is_old))
            expired = change_state(
                connection,
                is_late,
                State.EXPIRED,
                text=reason.text,
                values=reason_values(reason),
                now=now,
                code=reason.code,
            )
        return len(expired)

    def correct_future_times(self, *, longest: timedelta) -> int:
        """Correct times that were written while the clock was ahead, and are too far in the future now.

        Scheduled times stay as they are, because the caller meant that time of day.

        Args:
            longest: the longest time of a lease or of a wait for the next attempt.

        Returns:
            How many emails were corrected.
        """
        now = self._clock()
        too_far = now + longest
        is_waiting = or_(
            emails.c.state == State.DEFERRED,
            and_(
                emails.c.state == State.PENDING,
                or_(emails.c.not_before.is_(None), emails.c.reason_code.is_not(None)),
            ),
        )
        corrections: list[tuple[ColumnElement[bool], dict[str, Any]]] = [
            (and_(is_waiting, emails.c.due_at > too_far), {"due_at": now, "not_before": None}),
            (and_(emails.c.state == State.SENDING, emails.c.lease_until > too_far), {"lease_until": too_far}),
            (and_(emails.c.state == State.QUEUED, emails.c.queued_at > now), {"queued_at": now}),
        ]
        with writing(self._engine) as connection:
            connection.execute(update(circuits).where(circuits.c.probe_at > too_far).values(probe_at=now))
            return sum(
                connection.execute(update(emails).where(where).values(**values)).rowcount
                for where, values in corrections
            )

    def _hold_own(self, where: ColumnElement[bool], *, why: str) -> None:
        """Hold those of the emails that the service's own tasks send: nothing may publish them again."""
        if not self._has_any(and_(where, _IS_OWN)):
            return
        with writing(self._engine) as connection:
            hold_as_unknown(connection, where, why=why, now=self._clock())

    def _has_any(self, where: ColumnElement[bool]) -> bool:
        with reading(self._engine) as connection:
            return _has_rows(connection, emails, where)

    def _return_to_pending(self, where: ColumnElement[bool], reason: Reason) -> int:
        now = self._clock()
        values = {"due_at": now, "queued_at": None, "queued_in": None}
        with writing(self._engine) as connection:
            returned = return_to_log(
                connection, where, text=reason.text, values=values, now=now, code=reason.code
            )
        return len(returned)

    def _change_state(
        self,
        where: ColumnElement[bool],
        target: State,
        *,
        text: str,
        code: ReasonCode,
        values: dict[str, Any],
    ) -> int:
        now = self._clock()
        with writing(self._engine) as connection:
            return len(change_state(connection, where, target, text=text, values=values, now=now, code=code))
