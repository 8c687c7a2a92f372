"""How often each source of feedback was heard, and with which result."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from mailctl.delivery_log.reports import FeedbackResult
from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import UNINDEXED_STATE, emails, feedback_counts
from mailctl.delivery_log.transitions import insert_of_dialect
from mailctl.domain.states import ACCEPTED_STATES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection


#: What only a source that works delivers.
_HEARD = frozenset(
    {FeedbackResult.RECORDED, FeedbackResult.LIKELY, FeedbackResult.REPEATED, FeedbackResult.IGNORED}
)
#: What anybody can send.
_REFUSED = frozenset(
    {FeedbackResult.FORGED, FeedbackResult.STALE, FeedbackResult.MALFORMED, FeedbackResult.OVERSIZED}
)


@dataclass(frozen=True, kw_only=True)
class FeedbackCount:
    """How often a source delivered something with a result."""

    source: str
    result: FeedbackResult
    count: int
    last_at: datetime

    @property
    def is_heard(self) -> bool:
        """Whether it shows that the source works: not what anybody could send, nor feedback of others."""
        return self.result in _HEARD

    @property
    def is_refused(self) -> bool:
        """Whether it was refused: because it was forged, or because a secret differs."""
        return self.result in _REFUSED


class FeedbackCounts(Repository):
    """Counts what sources of feedback deliver."""

    def add(self, source: str, result: FeedbackResult, amount: int = 1) -> None:
        """Count what is no report and changes nothing, such as what is forged or cannot be read.

        Raises:
            LogUnavailable: the delivery log cannot be written.
        """
        with writing(self._engine, durable=False) as connection:
            add_counts(connection, {(source, result): amount}, now=self._clock())

    def read(self) -> list[FeedbackCount]:
        """Return what was heard from each source, by source and result."""
        order = (feedback_counts.c.source, feedback_counts.c.result)
        with reading(self._engine) as connection:
            return [
                FeedbackCount(
                    source=row.source,
                    result=FeedbackResult(row.result),
                    count=row._mapping["count"],
                    last_at=row.last_at,
                )
                for row in connection.execute(select(feedback_counts).order_by(*order))
            ]

    def accepted_since(self, since: datetime, *, until: datetime, limit: int) -> int:
        """Return how many emails, recorded between two times, were accepted; counting up to `limit`."""
        found = (
            select(emails.c.seq)
            .where(
                emails.c.created_at >= since,
                emails.c.created_at < until,
                UNINDEXED_STATE.in_(ACCEPTED_STATES),
            )
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return int(connection.execute(select(func.count()).select_from(found.subquery())).scalar_one())


def add_counts(
    connection: Connection, counts: Mapping[tuple[str, FeedbackResult], int], *, now: datetime
) -> None:
    """Add to the counts by source and result, in a transaction of the caller."""
    rows = [
        {"source": source, "result": result, "count": amount, "last_at": now}
        for (source, result), amount in sorted(counts.items())
    ]
    if rows:
        connection.execute(_add(connection.dialect.name), rows)


@cache
def _add(dialect: str) -> Any:
    """Return the statement, built once: building it takes longer than running it."""
    statement = insert_of_dialect(dialect, feedback_counts)
    added = {
        "count": feedback_counts.c["count"] + statement.excluded["count"],
        "last_at": statement.excluded.last_at,
    }
    return statement.on_conflict_do_update(index_elements=list(feedback_counts.primary_key), set_=added)
