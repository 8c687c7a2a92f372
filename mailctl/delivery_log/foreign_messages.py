"""Messages of other apps: how often workers have returned each to its queue, by a digest of the message.

The messages are not changed: a header with the count would reach the tasks of the other app, and Celery
copies headers when a task is retried. Workers that share the log share the counts, which survive a restart.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import foreign_messages
from mailctl.delivery_log.transitions import insert_or_ignore

if TYPE_CHECKING:
    from collections.abc import Collection

#: How long a count is kept after a message was last returned: by then its own app has most likely taken it.
RETENTION = timedelta(days=1)


class ForeignMessages(Repository):
    """Counts how often messages of other apps were requeued."""

    def requeue_counts(self, digests: Collection[str]) -> dict[str, int]:
        """Return how often each message was requeued, by digest; those that never were are left out."""
        query = select(foreign_messages.c.digest, foreign_messages.c.rounds).where(
            foreign_messages.c.digest.in_(digests)
        )
        with reading(self._engine) as connection:
            return {row.digest: row.rounds for row in connection.execute(query)}

    def record_requeues(self, digests: Collection[str]) -> None:
        """Count one more requeue of each message, and delete counts that are old."""
        now, each = self._clock(), foreign_messages.c
        with writing(self._engine) as connection:
            connection.execute(delete(foreign_messages).where(each.seen_at < now - RETENTION))
            for digest in sorted(set(digests)):  # in a fixed order, to avoid deadlocks
                row = {"digest": digest, "rounds": 1, "seen_at": now}
                if not insert_or_ignore(connection, foreign_messages, row):
                    is_it = each.digest == digest
                    again = update(foreign_messages).where(is_it)
                    connection.execute(again.values(rounds=each.rounds + 1, seen_at=now))

    def forget(self, digests: Collection[str]) -> None:
        """Delete the counts of messages that were moved aside; after a restore they start from 0."""
        with writing(self._engine) as connection:
            connection.execute(delete(foreign_messages).where(foreign_messages.c.digest.in_(digests)))
