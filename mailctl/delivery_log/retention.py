"""Retention: old emails lose their content first, and are deleted later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, delete, func, select, update

from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.partitions.creation import create_missing
from mailctl.delivery_log.storage.partitions.dropping import (
    drop_old,
    find_droppable,
    is_deleted_one_by_one,
)
from mailctl.delivery_log.storage.tables import emails, events, feedback, link_uses
from mailctl.delivery_log.web_sessions import delete_expired_sessions
from mailctl.domain.states import FINAL_STATES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import datetime

    from sqlalchemy import Connection

    from mailctl.delivery_log.storage.partitions.layout import DayRange

#: Rows in one transaction, so that workers do not wait long for the database.
BATCH_SIZE = 500


@dataclass(frozen=True, kw_only=True)
class PrunableCounts:
    """How many rows are old enough to be pruned."""

    #: Emails that still have their content.
    contents: int
    #: Emails that are deleted with their events.
    emails: int
    #: Uses of expired links.
    link_uses: int


class Retention(Repository):
    """Prunes old emails in a final state; unfinished emails stay, however old they are."""

    def count(self, *, contents_before: datetime, emails_before: datetime) -> PrunableCounts:
        """Return how many rows `prune` would change or delete, with the same arguments."""
        droppable = find_droppable(self._engine, before=emails_before)
        is_deleted = self._is_deleted(emails_before, dropped=droppable)
        with reading(self._engine) as connection:

            def number(where: ColumnElement[bool]) -> int:
                return int(connection.execute(select(func.count()).where(where)).scalar_one())

            return PrunableCounts(
                contents=number(and_(_is_old(contents_before), emails.c.content.is_not(None))),
                emails=number(is_deleted) + sum(droppable.values()),
                link_uses=number(link_uses.c.expires_at < self._clock()),
            )

    def prune(self, *, contents_before: datetime, emails_before: datetime) -> Iterator[int]:
        """Prune emails in small transactions; yield how many emails each has changed or deleted.

        Of a log with partitions, those in which all emails are old are dropped as a whole, and those of the
        next days are created if they are missing.

        Args:
            contents_before: emails that ended before this time lose their content.
            emails_before: emails that ended before this time are deleted with their events.
        """
        with_content = and_(_is_old(contents_before), emails.c.content.is_not(None))
        yield from self._in_batches(
            with_content, lambda ids: [update(emails).where(emails.c.id.in_(ids)).values(content=None)]
        )
        create_missing(self._engine, now=self._clock())
        yield from drop_old(self._engine, before=emails_before)
        yield from self._in_batches(
            self._is_deleted(emails_before),
            lambda ids: [
                delete(events).where(events.c.email_id.in_(ids)),
                delete(feedback).where(feedback.c.email_id.in_(ids)),
                delete(emails).where(emails.c.id.in_(ids)),
            ],
        )
        with writing(self._engine) as connection:
            delete_expired_link_uses(connection, now=self._clock())
            delete_expired_sessions(connection, now=self._clock())

    def _is_deleted(self, before: datetime, dropped: Collection[DayRange] = ()) -> ColumnElement[bool]:
        """Return the condition that an email is deleted by itself, and not with its partition."""
        return and_(_is_old(before), is_deleted_one_by_one(self._engine, before=before, dropped=dropped))

    def _in_batches(self, where: ColumnElement[bool], statements: Any) -> Iterator[int]:
        while True:
            with writing(self._engine) as connection:
                found = (
                    select(emails.c.id)
                    .where(where)
                    .order_by(emails.c.seq)
                    .limit(BATCH_SIZE)
                    .with_for_update()
                )
                ids = connection.execute(found).scalars().all()
                for statement in statements(ids) if ids else []:
                    connection.execute(statement)
            if not ids:
                return
            yield len(ids)


def delete_expired_link_uses(connection: Connection, *, now: datetime) -> int:
    """Delete the uses of links that have expired; return how many."""
    return connection.execute(delete(link_uses).where(link_uses.c.expires_at < now)).rowcount


def _is_old(before: datetime) -> ColumnElement[bool]:
    return and_(emails.c.state.in_(FINAL_STATES), emails.c.updated_at < before)
