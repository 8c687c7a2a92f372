"""How often messages of other apps were put back on their queue, by a digest of each.

The messages themselves stay as they are: a header of ours would reach the tasks of the other app, and Celery
passes headers on when a task is retried. Workers that share the log share the counts; a restart keeps them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import foreign_messages
from mailctl.delivery_log.transitions import insert_or_ignore, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from sqlalchemy import Engine

#: How long a message is remembered after it was last put back: its own app has most likely taken it.
RETENTION = timedelta(days=1)


class ForeignMessages:
    """Counts the rounds of foreign messages.

    Args:
        engine: of the delivery log's database, its schema current.
        clock: gives the time.
    """

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self._clock = clock

    def requeue_counts(self, digests: Collection[str]) -> dict[str, int]:
        """Return how often each message was put back; those that never were are left out."""
        query = select(foreign_messages.c.digest, foreign_messages.c.rounds).where(
            foreign_messages.c.digest.in_(digests)
        )
        with reading(self._engine) as connection:
            return {row.digest: row.rounds for row in connection.execute(query)}

    def record_requeues(self, digests: Collection[str]) -> None:
        """Record that each message is put back once more, and forget those that were not for long."""
        now, each = self._clock(), foreign_messages.c
        with writing(self._engine) as connection:
            connection.execute(delete(foreign_messages).where(each.seen_at < now - RETENTION))
            for digest in sorted(set(digests)):  # in one order, so that two workers never wait for each other
                row = {"digest": digest, "rounds": 1, "seen_at": now}
                if not insert_or_ignore(connection, foreign_messages, row):
                    is_it = each.digest == digest
                    again = update(foreign_messages).where(is_it)
                    connection.execute(again.values(rounds=each.rounds + 1, seen_at=now))

    def forget(self, digests: Collection[str]) -> None:
        """Forget messages that were moved aside: an operator who restores them gives them new rounds."""
        with writing(self._engine) as connection:
            connection.execute(delete(foreign_messages).where(foreign_messages.c.digest.in_(digests)))
