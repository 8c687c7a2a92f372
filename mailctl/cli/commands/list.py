"""`mailctl list`: list emails."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.arguments import read_ids
from mailctl.cli.completion import complete_id, complete_sort
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.option_groups import CursorOption, FilterOptions, LayoutOptions, with_options
from mailctl.cli.terminal.interrupts import watching
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.choices import require_choice
from mailctl.domain.shell_command import shell_quote
from mailctl.timefmt import TimeStyle, format_time, format_time_heading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mailctl.delivery_log.pauses import Pause
    from mailctl.delivery_log.queries.search import EmailFilter, EmailPage
    from mailctl.domain.models import Email
    from mailctl.views.emails import EmailView

_COLUMNS = ("id", "state", "kind", "to", "recorded", "reason")
#: How often --watch reads the list, in seconds.
_POLL_SECONDS = 1.0


@uses_log(AccessMode.READ)
@with_options
def list_emails(
    session: CliSession,
    filters: FilterOptions,
    layout: LayoutOptions,
    references: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID",
            help="Only these emails: ids or prefixes of them, Message-IDs, idempotency keys, queue ids of the"
            " mail server, or addresses; - reads ids from stdin.",
            autocompletion=complete_id,
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", min=1, max=10_000, metavar="NUMBER", help="Maximum number of emails to list."
        ),
    ] = 50,
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            metavar="FIELD",
            help="Sort by created, updated, to or state.",
            autocompletion=complete_sort,
        ),
    ] = "created",
    after: CursorOption = None,
    oldest_first: Annotated[
        bool, typer.Option("--oldest-first", help="List in reverse order: oldest first.")
    ] = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Update the list every second until Ctrl-C; a pipe gets one line per change."
        ),
    ] = False,
) -> None:
    """List emails, newest first.

    An email is listed if it matches all given filters. The last column says why it is in its state, such as
    an SMTP reply or a pause.

    \b
    Examples:
      mailctl list --state failed --since 24h
      mailctl list ada@example.com --since yesterday
      mailctl list --state failed,expired -o csv --columns task_id,to,error
      mailctl list --maybe-sent --attempts '>2'
      mailctl list --campaign spring --watch

    \b
    Exit codes:
      0  The matching emails were printed, or Ctrl-C ended --watch.
      3  There is no such queue or campaign, or no delivery log.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl status, mailctl why, mailctl stats
    """
    from mailctl.delivery_log.queries.search import Sort, search
    from mailctl.recorder.task_results import record_results

    layout.apply_to(session, "emails:EmailView")
    wanted = filters.to_filter(session)
    if references:
        from mailctl.operations.selection import find_ids

        ids = find_ids(session.runtime, read_ids(references))
        wanted = replace(wanted, ids=ids)
    order = Sort(require_choice(sort, list(Sort), noun="sort order"))
    record_results(session.runtime)

    def read(limit: int) -> EmailPage:
        engine = session.runtime.engine
        return search(engine, wanted, limit=limit, after=after, oldest_first=oldest_first, sort=order)

    page = read(limit)
    # Also before a watch: an unknown queue or campaign is an error, not a list that stays empty.
    note = _note(session, page, wanted)
    if watch:
        _watch(session, read, limit)
        return
    _show(session, page.emails)
    if note:
        session.output.note(note)


def _watch(session: CliSession, read: Callable[[int], EmailPage], limit: int) -> None:
    with watching():
        if session.output.has_screen:
            _redraw_table(session, read, limit)
        else:
            _print_changes(session, read, limit)


def _redraw_table(session: CliSession, read: Callable[[int], EmailPage], limit: int) -> None:
    with session.output.live_table(_columns()) as (draw, max_rows):
        while True:
            draw(list(_rows(session, read(min(limit, max_rows())).emails)))
            time.sleep(_POLL_SECONDS)


def _print_changes(session: CliSession, read: Callable[[int], EmailPage], limit: int) -> None:
    from mailctl.monitoring.email_changes import EmailChanges

    changes = EmailChanges(lambda email_id: next(iter(session.runtime.history.find(email_id, limit=1)), None))
    while True:
        _print_lines(session, changes.update(reversed(read(limit).emails)))
        time.sleep(_POLL_SECONDS)


def _show(session: CliSession, emails: Sequence[Email]) -> None:
    session.output.listing(map(_view, emails), columns=_columns(), rows=_rows(session, emails))


def _columns() -> list[str]:
    return [format_time_heading(name) if name == "recorded" else name for name in _COLUMNS]


def _view(email: Email) -> EmailView:
    from mailctl.views.emails import EmailView

    return EmailView.of(email)


def _print_lines(session: CliSession, emails: Sequence[Email]) -> None:
    if session.output.as_json:
        _show(session, emails)
        return
    for row in _rows(session, emails):
        session.output.prose("  ".join(cell for cell in row if cell), hang=len(row[0]) + 2)


def _note(session: CliSession, page: EmailPage, wanted: EmailFilter) -> str:
    """Return a note about an empty list or about the next page; "" if no note is needed."""
    if not page.emails:
        from mailctl.operations.selection import no_match_message

        return no_match_message(session.runtime, wanted)
    return (
        "" if page.cursor is None else f"There are more. To continue, add: --after {shell_quote(page.cursor)}"
    )


def _rows(session: CliSession, emails: Sequence[Email]) -> Iterator[list[str]]:
    pauses = session.runtime.pauses.read()
    short_ids = session.runtime.history.short_ids(email.id for email in emails)
    for email in emails:
        yield [short_ids[email.id], *_row(email, pauses)]


def _row(email: Email, pauses: Sequence[Pause]) -> list[str]:
    from mailctl.domain.states import CLAIMABLE_STATES

    recorded = format_time(email.created_at, TimeStyle.DAY_SECOND)
    stopping = [str(each) for each in pauses if email.state in CLAIMABLE_STATES and each.covers(email)]
    reason = stopping[0] if stopping else email.error or _wait_reason(email)
    return [email.state, email.kind, email.to, recorded, reason]


def _wait_reason(email: Email) -> str:
    """Return what an email without an error waits for, or what is unknown of it; "" if that is nothing."""
    if email.is_sent_or_captured and email.maybe_sent:
        return "an earlier attempt ended without an answer, and may have reached the recipient, too"
    if email.is_own_task and email.state == "queued":
        return "the service's own task has not reported its outcome"
    if email.is_in_full and email.state == "queued":
        return "it waits on the broker, or a worker without this log has it"
    at = email.scheduled_for
    return f"scheduled for {format_time(at, TimeStyle.DAY_SECOND)}" if at else ""
