"""`mailctl list`: find emails."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import Session
from mailctl.cli.views import listed_view
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailctl.log.search import Page
    from mailctl.message import Email

_SHORT_ID = 8


def list_emails(
    session: Session,
    state: Annotated[
        list[str] | None, typer.Option("--state", metavar="STATE", help="Such as failed; repeatable.")
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", metavar="KIND", help="Such as reset; repeatable.")
    ] = None,
    user_id: Annotated[str | None, typer.Option("--user-id", metavar="ID", help="Of this user.")] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="TEXT", help="A part of the address.")] = None,
    queue: Annotated[str | None, typer.Option("--queue", metavar="NAME", help="Of this queue.")] = None,
    campaign: Annotated[
        str | None, typer.Option("--campaign", metavar="NAME", help="Of this campaign.")
    ] = None,
    error: Annotated[
        str | None, typer.Option("--error", metavar="TEXT", help="A part of the reason, such as 550.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="WHEN", help="Recorded since: 24h, or a time (ISO 8601).")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="WHEN", help="Recorded before: 1h, or a time (ISO 8601).")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most.")] = 50,
    after: Annotated[
        int | None, typer.Option("--after", metavar="CURSOR", help="Go on where a list was cut.")
    ] = None,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="Else the newest come first.")] = False,
) -> None:
    """Find emails: filters compose, the newest come first."""
    from mailctl.log.search import Filter, search
    from mailctl.message import State
    from mailctl.moments import parse_past

    now = datetime.now(UTC)
    wanted = Filter(
        states=[State(_name_in(value, list(State), field="--state")) for value in state or ()],
        kinds=[session.catalog.named(value).name for value in kind or ()],
        user_id=user_id,
        to=to,
        queue=queue,
        campaign=campaign,
        error=error,
        since=parse_past(since, field="--since", now=now) if since else None,
        until=parse_past(until, field="--until", now=now) if until else None,
    )
    page = search(session.runtime.engine, wanted, limit=limit, after=after, oldest_first=oldest_first)
    if session.output.as_json:
        for email in page.emails:
            session.output.record(listed_view(email))
    else:
        session.output.table(
            ["id", "state", "kind", "to", "recorded", "reason"], [_row(email) for email in page.emails]
        )
    _say_what_is_left(session, page)


def _say_what_is_left(session: Session, page: Page) -> None:
    if not page.emails:
        session.output.note("No email fits.")
    elif page.cursor is not None:
        session.output.note(f"There are more: --after {page.cursor}")


def _row(email: Email) -> list[str]:
    recorded = f"{email.created_at:%m-%d %H:%M:%S}Z"
    return [email.id[:_SHORT_ID], email.state, email.kind, email.to, recorded, email.error or ""]


def _name_in(value: str, names: Iterable[str], *, field: str) -> str:
    if value not in names:
        raise InvalidInput(field, f"{value!r} is none.", fix=f"Use one of: {', '.join(names)}.")
    return value
