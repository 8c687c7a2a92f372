"""Sealing again with the newest key what older ones sealed, while workers go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select, update

from mailctl.delivery_log.storage.encryption import CONTENT_PURPOSE
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import emails

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from sqlalchemy import Engine

    from mailctl.security.keyring import Keyring

#: Rows of one transaction, so that workers need not wait long for the database.
BATCH_SIZE = 200
# Whoever has changed or scrubbed a content meanwhile was right.
_RESEAL = (
    update(emails)
    .where(emails.c.seq == bindparam("b_seq"), emails.c.content == bindparam("b_old"))
    .values(content=bindparam("b_new"))
)


@dataclass(frozen=True, kw_only=True)
class RekeyResult:
    """What was found in some rows."""

    #: Contents that an older key had sealed.
    outdated: int = 0
    #: Contents that the newest key had sealed already.
    current: int = 0
    #: The ids of emails whose content no key opens that this process knows.
    unreadable: tuple[str, ...] = ()

    def __add__(self, other: RekeyResult) -> RekeyResult:
        return RekeyResult(
            outdated=self.outdated + other.outdated,
            current=self.current + other.current,
            unreadable=self.unreadable + other.unreadable,
        )


def rekey(engine: Engine, keyring: Keyring, *, dry_run: bool) -> Iterator[RekeyResult]:
    """Go through every content there is, some in a transaction; yields what each step found.

    It may be stopped and started again: what the newest key has sealed stays as it is.

    Args:
        engine: of the delivery log's database, its schema current.
        keyring: opens and seals.
        dry_run: only look.

    Raises:
        LogUnavailable: the log cannot be read or written.
    """
    last = 0
    while rows := _next_rows(engine, last):
        last = rows[-1].seq
        renewed = {row.seq: keyring.reseal(row.content, purpose=CONTENT_PURPOSE) for row in rows}
        outdated = [row for row in rows if renewed[row.seq] not in (None, row.content)]
        if outdated and not dry_run:
            values = [{"b_seq": row.seq, "b_old": row.content, "b_new": renewed[row.seq]} for row in outdated]
            with writing(engine) as connection:
                connection.execute(_RESEAL, values)
        unreadable = tuple(row.id for row in rows if renewed[row.seq] is None)
        yield RekeyResult(
            outdated=len(outdated),
            current=len(rows) - len(outdated) - len(unreadable),
            unreadable=unreadable,
        )


def _next_rows(engine: Engine, last: int) -> Sequence[Any]:
    query = (
        select(emails.c.seq, emails.c.id, emails.c.content)
        .where(emails.c.seq > last, emails.c.content.is_not(None))
        .order_by(emails.c.seq)
        .limit(BATCH_SIZE)
    )
    with reading(engine) as connection:
        return connection.execute(query).all()
