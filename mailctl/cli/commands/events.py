"""`mailctl events`: list the events of the delivery log, and follow them."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.option_groups import SubjectOptions, with_options
from mailctl.cli.terminal.interrupts import watching
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.timefmt import TimeStyle, format_time

if TYPE_CHECKING:
    from mailctl.delivery_log.queries.event_feed import EventFilter, FeedEntry

#: Characters of an id that are shown; the events of an email are listed by `status`.
_SHOWN_ID_LENGTH = 12
_DEFAULT_PERIOD = "1h"


@uses_log(AccessMode.READ)
@with_options
def events(
    session: CliSession,
    filters: SubjectOptions,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print events as they happen, until Ctrl-C.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="WHEN",
            help="Begin with the events since WHEN: 1h, 10:02, today, or an ISO 8601 time; default: 1h, or"
            " with --follow the next one.",
        ),
    ] = None,
) -> None:
    """List what happened to emails, oldest first, and follow it.

    Each event is one line. A pipe gets one JSON object for each event.

    \b
    Examples:
      mailctl events --since 10:02 --state failed,deferred
      mailctl events --follow --campaign spring
      mailctl events --follow | jq .text

    \b
    Exit codes:
      0  The events were printed, or Ctrl-C ended --follow.
      2  A state, a kind or a time is invalid.
      3  There is no such queue or campaign, or no delivery log.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl status, mailctl list, mailctl top
    """
    from mailctl.monitoring.event_feed import follow_events, list_events

    wanted = _filter(session, filters)
    if not sys.stdout.isatty():
        session.output.as_json = True
    is_empty = True
    with watching():
        found = (
            follow_events(session.runtime, wanted, since=_beginning(since) if since else None)
            if follow
            else list_events(session.runtime, wanted, since=_beginning(since or _DEFAULT_PERIOD))
        )
        for entry in found:
            is_empty = False
            _show(session, entry)
    if is_empty:
        session.output.note(f"No matching events. The delivery log is {session.runtime.masked_log_url}.")


def _filter(session: CliSession, filters: SubjectOptions) -> EventFilter:
    from mailctl.delivery_log.queries.event_feed import EventFilter

    return EventFilter(
        states=filters.read_states(),
        kinds=filters.read_kinds(session),
        queue=filters.queue,
        campaign=filters.campaign,
        to=filters.to,
    )


def _beginning(since: str) -> datetime:
    from mailctl.timefmt import parse_past_time

    return parse_past_time(since, field="--since", now=datetime.now(UTC))


def _show(session: CliSession, entry: FeedEntry) -> None:
    if session.output.as_json:
        from mailctl.views.events import FeedEntryView

        session.output.record(FeedEntryView.of(entry))
        return
    event = entry.event
    prefix = (
        f"{format_time(event.at, TimeStyle.CLOCK)}  {entry.email_id[:_SHOWN_ID_LENGTH]}  {event.state:<9}  "
    )
    session.output.prose(prefix + entry.summary, hang=len(prefix))
