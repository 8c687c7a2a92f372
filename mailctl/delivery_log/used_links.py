"""Used links in a SQL database: of several uses of a link at the same time exactly one succeeds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, overload

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from mailctl.delivery_log.retention import delete_expired_link_uses
from mailctl.delivery_log.storage.tables import link_uses
from mailctl.delivery_log.transitions import insert_or_ignore
from mailctl.security import links

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncSession

    from mailctl.security.links import LinkClaims


class LinkUses:
    """Records used links in the table `mailctl_link_uses`, which every delivery log has.

    With a session or a connection a use is part of the caller's transaction: if the new password is rolled
    back, the link can be used again. With an engine a use is committed at once.

    Args:
        bind: a connection to the delivery log's database, or to one in which `create` was called.
    """

    def __init__(self, bind: Session | Connection | Engine) -> None:
        self._bind = bind

    def create(self) -> None:
        """Create the table if it does not exist."""
        bind = self._bind.connection() if isinstance(self._bind, Session) else self._bind
        link_uses.create(bind, checkfirst=True)

    def use(self, digest: str, *, purpose: str, until: datetime) -> bool:
        """Record a use and return whether it is the first; see `mailctl.security.links.UseStore`."""
        row = {"digest": digest, "purpose": purpose, "used_at": datetime.now(UTC), "expires_at": until}
        if isinstance(self._bind, Engine):
            with self._bind.begin() as connection:
                return insert_or_ignore(connection, link_uses, row)
        # A second use waits here until the transaction of the first has ended, and then knows how it ended.
        return insert_or_ignore(self._connection(), link_uses, row)

    def forget(self) -> int:
        """Delete the uses of expired links, as `mailctl prune` does; return how many."""
        if isinstance(self._bind, Engine):
            with self._bind.begin() as connection:
                return delete_expired_link_uses(connection, now=datetime.now(UTC))
        return delete_expired_link_uses(self._connection(), now=datetime.now(UTC))

    def _connection(self) -> Connection:
        assert not isinstance(self._bind, Engine)
        return self._bind.connection() if isinstance(self._bind, Session) else self._bind


@overload
def redeem(t: str, *, purpose: str, session: Session) -> LinkClaims: ...


@overload
def redeem(t: str, *, purpose: str, session: AsyncSession) -> Coroutine[Any, Any, LinkClaims]: ...


def redeem(
    t: str, *, purpose: str, session: Session | AsyncSession
) -> LinkClaims | Coroutine[Any, Any, LinkClaims]:
    """Verify the `t` of a link and mark the link as used, in the transaction of a session.

    A rollback makes the link usable again.

    Args:
        t: the query parameter of the link.
        purpose: the purpose that the link must have been made for, such as `reset-password`.
        session: a session of the database that has the table `mailctl_link_uses`.

    Returns:
        The claims of the link; with an `AsyncSession`, a coroutine that returns them.

    Raises:
        UsedLink: the link was used before.
        InvalidLink: the link is altered, expired, made for another purpose, or not made by this service.
    """
    if isinstance(session, Session):
        return links.redeem(t, purpose=purpose, store=LinkUses(session))
    return session.run_sync(lambda sync: links.redeem(t, purpose=purpose, store=LinkUses(sync)))
