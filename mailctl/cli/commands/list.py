"""`mailctl list`: find emails."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.completion import complete_sort
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.option_groups import FilterOptions, require_choice, with_options
from mailctl.cli.terminal.interrupts import watching
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.shell_command import shell_quote
from mailctl.timefmt import TimeStyle, format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailctl.delivery_log.pauses import Pause
    from mailctl.delivery_log.queries.search import EmailFilter, EmailPage
    from mailctl.domain.models import Email

_COLUMNS = ("id", "state", "kind", "to", "recorded", "reason")
#: Seconds between looks of --watch.
_POLL_SECONDS = 1.0


@uses_log(AccessMode.READ)
@with_options
def list_emails(
    session: CliSession,
    filters: FilterOptions,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most.")] = 50,
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            metavar="WHAT",
            help="By created, updated, to or state.",
            autocompletion=complete_sort,
        ),
    ] = "created",
    after: Annotated[
        str | None, typer.Option("--after", metavar="CURSOR", help="Go on where a list was cut.")
    ] = None,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="Else the newest come first.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep looking, until Ctrl-C; in a pipe: print what changes.")
    ] = False,
) -> None:
    """Find emails: filters compose, the newest come first."""
    from mailctl.delivery_log.queries.search import Sort, search

    wanted = filters.to_filter(session)
    order = Sort(require_choice(sort, list(Sort), field="--sort"))

    def look(limit: int) -> EmailPage:
        engine = session.runtime.engine
        return search(engine, wanted, limit=limit, after=after, oldest_first=oldest_first, sort=order)

    page = look(limit)
    # A queue or campaign that nobody knows is refused, also where one would wait for its emails.
    left = _what_is_left(session, page, wanted)
    if watch:
        _watch(session, look, limit)
        return
    _show(session, page.emails)
    if left:
        session.output.note(left)


def _watch(session: CliSession, look: Callable[[int], EmailPage], limit: int) -> None:
    with watching():
        if session.output.has_screen:
            with session.output.live_table(_COLUMNS) as (draw, room):
                while True:
                    draw(_rows(session, look(min(limit, room())).emails))
                    time.sleep(_POLL_SECONDS)
        else:
            _print_changes(session, look, limit)


def _print_changes(session: CliSession, look: Callable[[int], EmailPage], limit: int) -> None:
    shown: dict[str, Email] = {}
    while True:
        page = {email.id: email for email in reversed(look(limit).emails)}
        # What fits no longer has changed too, or only made room for others.
        gone = [session.runtime.history.find(email_id, limit=1) for email_id in shown.keys() - page.keys()]
        emails = [*(email for found in gone for email in found), *page.values()]
        _print_lines(session, [email for email in emails if _has_changed(email, shown.get(email.id))])
        shown = page
        time.sleep(_POLL_SECONDS)


def _has_changed(email: Email, before: Email | None) -> bool:
    """Whether it has changed in a way that people care about; leases and the like do not count."""
    return before is None or (email.state, email.attempts, email.error) != (
        before.state,
        before.attempts,
        before.error,
    )


def _show(session: CliSession, emails: Sequence[Email]) -> None:
    if session.output.as_json:
        from mailctl.views.emails import EmailView

        for email in emails:
            session.output.record(EmailView.of(email))
    else:
        session.output.table(_COLUMNS, _rows(session, emails))


def _print_lines(session: CliSession, emails: Sequence[Email]) -> None:
    if session.output.as_json:
        _show(session, emails)
        return
    for row in _rows(session, emails):
        session.output.prose("  ".join(cell for cell in row if cell), hang=len(row[0]) + 2)


def _what_is_left(session: CliSession, page: EmailPage, wanted: EmailFilter) -> str:
    if not page.emails:
        from mailctl.operations.selection import no_match_message

        return no_match_message(session.runtime, wanted)
    return "" if page.cursor is None else f"There are more: --after {shell_quote(page.cursor)}"


def _rows(session: CliSession, emails: Sequence[Email]) -> list[list[str]]:
    pauses = session.runtime.pauses.read()
    short_ids = session.runtime.history.short_ids(email.id for email in emails)
    return [[short_ids[email.id], *_row(email, pauses)] for email in emails]


def _row(email: Email, pauses: Sequence[Pause]) -> list[str]:
    from mailctl.domain.models import CLAIMABLE_STATES

    recorded = format_time(email.created_at, TimeStyle.DAY_SECOND)
    stopping = [str(each) for each in pauses if email.state in CLAIMABLE_STATES and each.covers(email)]
    reason = stopping[0] if stopping else email.error or ""
    return [email.state, email.kind, email.to, recorded, reason]
