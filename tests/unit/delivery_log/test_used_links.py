"""Used links: which use is the first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log.used_links import LinkUses

if TYPE_CHECKING:
    from sqlalchemy import Engine


def test_a_link_is_used_once(engine: Engine) -> None:
    """With an engine, each use counts at once."""
    uses, until = LinkUses(engine), datetime.now(UTC) + timedelta(hours=1)
    uses.create()
    assert [uses.use("digest", purpose="reset", until=until) for _ in range(2)] == [True, False]


def test_a_use_is_undone_with_the_transaction_of_the_caller(engine: Engine) -> None:
    """If the new password is rolled back, the link works again."""
    until = datetime.now(UTC) + timedelta(hours=1)
    with engine.connect() as connection, connection.begin() as transaction:
        assert LinkUses(connection).use("digest", purpose="reset", until=until)
        transaction.rollback()
    assert LinkUses(engine).use("digest", purpose="reset", until=until)


def test_uses_of_expired_links_are_deleted(engine: Engine) -> None:
    """The link does not work any more in any case."""
    uses, now = LinkUses(engine), datetime.now(UTC)
    uses.use("old", purpose="reset", until=now - timedelta(hours=1))
    uses.use("new", purpose="reset", until=now + timedelta(hours=1))
    assert uses.forget() == 1
