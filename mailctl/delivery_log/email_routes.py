"""The facts about emails by which a mail server is chosen, and the server that was chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select, update

from mailctl.delivery_log.repository import Repository
from mailctl.delivery_log.storage.batches import batches, is_among
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import emails
from mailctl.delivery_log.transitions import append_events
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.routing import DEFAULT_SERVER, RoutedEmail, join_order
from mailctl.domain.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection, Row

    from mailctl.domain.models import Claim
    from mailctl.domain.routing import ServerOrder, ServerPlan

#: The columns of a `RoutableEmail`.
ROUTE_COLUMNS = (
    emails.c.id,
    emails.c.kind,
    emails.c.queue,
    emails.c.to_address,
    emails.c.campaign,
    emails.c.tenant,
    emails.c.maybe_sent,
    emails.c.server,
    emails.c.route,
)
_SELECT = select(*ROUTE_COLUMNS).where(is_among(emails.c.id, "ids"))


@dataclass(frozen=True, kw_only=True)
class RoutableEmail:
    """An email for which a mail server is chosen."""

    id: str
    facts: RoutedEmail
    #: The mail server that may have accepted it in an earlier attempt; None if none may have.
    possible_holder: str | None


class EmailRoutes(Repository):
    """Reads what routes depend on, and records that an attempt continues at another mail server."""

    def find(self, ids: Sequence[str]) -> list[RoutableEmail]:
        """Return the emails for which a mail server is to be chosen.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        with reading(self._engine) as connection:
            rows: list[Row[Any]] = []
            for some in batches(list(ids)):
                rows += connection.execute(_SELECT, {"ids": some})
        return [routable_from_row(row) for row in rows]

    def move(self, claim: Claim, server: str, *, text: str) -> bool:
        """Record, durably, that another mail server gets a claimed email that none has accepted.

        Args:
            server: the name of the server.
            text: why, for people.

        Returns:
            Whether that was recorded; False if another worker has claimed the email by now.

        Raises:
            LogUnavailable: the delivery log cannot be used; the email must not go to that server.
        """
        is_held = and_(
            emails.c.id == claim.id, emails.c.claim == claim.token, emails.c.state == State.SENDING
        )
        with writing(self._engine) as connection:
            moved = connection.execute(update(emails).where(is_held).values(server=column_value(server)))
            if not moved.rowcount:
                return False
            append_events(connection, [claim.id], text=text, now=self._clock(), code=ReasonCode.NEXT_SERVER)
        return True


def routable_from_row(row: Row[Any]) -> RoutableEmail:
    """Return the email in a row of `ROUTE_COLUMNS`."""
    facts = RoutedEmail(
        kind=row.kind,
        queue=row.queue,
        recipient=row.to_address,
        campaign=row.campaign,
        tenant=row.tenant,
    )
    holder = (row.server or DEFAULT_SERVER) if row.maybe_sent else None
    return RoutableEmail(id=row.id, facts=facts, possible_holder=holder)


def record_plans(
    connection: Connection,
    rows: Sequence[Row[Any]],
    plan: Callable[[RoutableEmail], tuple[ServerOrder, ServerPlan]],
) -> Mapping[str, ServerPlan]:
    """Plan the attempts of emails that have just been claimed, and record their mail servers.

    Args:
        rows: the claimed emails, with `ROUTE_COLUMNS`.
        plan: returns the order of servers and the plan for an email.

    Returns:
        The plans by id.
    """
    plans: dict[str, ServerPlan] = {}
    changed: dict[tuple[str | None, str], list[str]] = {}
    for row in rows:
        order, plans[row.id] = plan(routable_from_row(row))
        values = (column_value(plans[row.id].server), join_order(order))
        if values != (row.server, row.route):
            changed.setdefault(values, []).append(row.id)
    for (server, route), ids in changed.items():
        connection.execute(update(emails).where(emails.c.id.in_(ids)).values(server=server, route=route))
    return plans


def column_value(server: str) -> str | None:
    """Return a server as the log stores it: logs with one server only have no name."""
    return None if server == DEFAULT_SERVER else server
