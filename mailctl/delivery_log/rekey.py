"""Rekeying: content that an older key encrypted is encrypted again with the newest, while workers run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select, update

from mailctl.delivery_log.rows import IDENTITY_COLUMNS, identity_from_row
from mailctl.delivery_log.storage.encryption import renew
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import emails
from mailctl.domain.states import CLAIMABLE_STATES, State
from mailctl.security.keyring import UNBOUND_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from sqlalchemy import Engine

    from mailctl.security.keyring import Keyring

#: Rows in one transaction, so that workers do not wait long for the database.
BATCH_SIZE = 200
# Content that was changed or deleted meanwhile stays so.
_RESEAL = (
    update(emails)
    .where(emails.c.seq == bindparam("b_seq"), emails.c.content == bindparam("b_old"))
    .values(content=bindparam("b_new"))
)


@dataclass(frozen=True, kw_only=True)
class RekeyResult:
    """Counts of the contents in some rows, by the key that encrypted them."""

    #: Contents that an older key encrypted, or an earlier version, which did not bind them to their rows.
    outdated: int = 0
    #: Contents that the newest key encrypted.
    current: int = 0
    #: The ids of emails whose content no known key decrypts, or was sealed for another row.
    unreadable: tuple[str, ...] = ()

    def __add__(self, other: RekeyResult) -> RekeyResult:
        return RekeyResult(
            outdated=self.outdated + other.outdated,
            current=self.current + other.current,
            unreadable=self.unreadable + other.unreadable,
        )


def has_unbound_contents(engine: Engine) -> bool:
    """Whether an unfinished email has a content that an earlier version sealed, without its row.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    query = (
        select(emails.c.id)
        .where(
            emails.c.state.in_([*CLAIMABLE_STATES, State.HELD]),
            func.substr(emails.c.content, 1, len(UNBOUND_VERSION)) == UNBOUND_VERSION,
        )
        .limit(1)
    )
    with reading(engine) as connection:
        return connection.execute(query).first() is not None


def rekey(engine: Engine, keyring: Keyring, *, dry_run: bool) -> Iterator[RekeyResult]:
    """Encrypt all outdated contents again, in small transactions; yield the counts of each.

    It can be stopped and started again: content that the newest key encrypted stays as it is.

    Args:
        engine: of the delivery log's database, with the current schema.
        keyring: decrypts and encrypts the content.
        dry_run: whether to count only, and change nothing.

    Raises:
        LogUnavailable: the delivery log cannot be read or written.
    """
    last = 0
    while rows := _next_rows(engine, last):
        last = rows[-1].seq
        renewed = {row.seq: renew(row.content, keyring, identity_from_row(row)) for row in rows}
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
        select(emails.c.seq, *IDENTITY_COLUMNS, emails.c.content)
        .where(emails.c.seq > last, emails.c.content.is_not(None))
        .order_by(emails.c.seq)
        .limit(BATCH_SIZE)
    )
    with reading(engine) as connection:
        return connection.execute(query).all()
