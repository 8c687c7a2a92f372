"""`mailctl queue list` and `mailctl queue peek`: depth and rates of queues, and their next emails."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.completion import complete_queue
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.option_groups import LayoutOptions, with_options
from mailctl.cli.terminal.interrupts import watching
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailctl.monitoring.queues import PeekResult, QueueEntry, QueueList, Queues, QueueStatus
    from mailctl.views.queues import QueueView

#: Emails recorded and finished per minute.
_RATES = "in/out per min"
_COLUMNS = ["queue", "depth", "sending", "scheduled", "deferred", "oldest", _RATES, "empty in", ""]
#: How often --watch reads the queues, in seconds.
_WATCH_SECONDS = 2.0
_PEEK_COLUMNS = ["", "id", "kind", "to", "age", "attempts", "state"]


@uses_log(AccessMode.READ)
@with_options
def list_queues(
    session: CliSession,
    layout: LayoutOptions,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Update the list every 2 s until Ctrl-C; a pipe gets the whole list each time."
        ),
    ] = False,
) -> None:
    """List the queues with depth, age, rates and pauses.

    Depth is the number of emails that are due and not finished. Emails that are scheduled, deferred or held
    are counted separately. Rates are emails per minute. It is unknown when a queue will be empty while
    emails in it are paused, or no worker or no broker answers.

    \b
    Examples:
      mailctl queue list
      mailctl queue list --watch

    \b
    Exit codes:
      0  The queues were printed, or Ctrl-C ended --watch.
      3  There is no delivery log.
      5  The broker (the log's figures are shown) or the log cannot be used.

    \b
    See also:
      mailctl queue peek, mailctl workers, mailctl top
    """
    from mailctl.monitoring.queues import Queues

    layout.apply_to(session, "queues:QueueView")
    session.allow_missing_log()
    if watch:
        _watch(session, Queues(session.runtime))
        return
    found = Queues(session.runtime).list_queues()
    session.output.listing(map(_view, found.queues), columns=_COLUMNS, rows=map(_row, found.queues))
    _note_pauses(session, found)
    if found.broker_error:
        raise found.broker_error


def _watch(session: CliSession, queues: Queues) -> None:
    with watching():
        if session.output.has_screen and session.output.layout is None:
            with session.output.live_table(_COLUMNS) as (draw, max_rows):
                while True:
                    draw([_row(queue) for queue in queues.list_queues().queues][: max_rows()])
                    time.sleep(_WATCH_SECONDS)
        while True:
            found = queues.list_queues().queues
            session.output.listing(map(_view, found), columns=_COLUMNS, rows=map(_row, found))
            time.sleep(_WATCH_SECONDS)


@uses_log(AccessMode.READ)
def peek(
    session: CliSession,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="QUEUE",
            help="The name of the queue; default: CELERY_QUEUE_DEFAULT.",
            autocompletion=complete_queue,
        ),
    ] = None,
    number: Annotated[
        int,
        typer.Option(
            "--number", "-n", min=1, max=1000, metavar="NUMBER", help="Maximum number of emails to show."
        ),
    ] = 20,
) -> None:
    """Show the next emails of a queue without removing them.

    \b
    Examples:
      mailctl queue peek
      mailctl queue peek mailctl.bulk -n 5

    \b
    Exit codes:
      0  The next emails were printed, if there are any.
      3  There is no such queue.
      5  The broker or the delivery log cannot be used.

    \b
    See also:
      mailctl queue list, mailctl list
    """
    from mailctl.monitoring.queues import Queues
    from mailctl.operations.known_names import check_queue_anywhere

    session.allow_missing_log()
    result = Queues(session.runtime).peek(name, limit=number)
    if name is not None and not (result.entries or result.hidden or result.broker_error):
        check_queue_anywhere(session.runtime, name)
    _show_entries(session, result)
    if result.broker_error:
        raise result.broker_error


def _show_entries(session: CliSession, result: PeekResult) -> None:
    if session.output.as_json:
        from mailctl.views.queues import QueueEntryView

        for entry in result.entries:
            session.output.record(QueueEntryView.of(result, entry))
    elif result.entries:
        ids = (entry.task_id for entry in result.entries if entry.task_id)
        short_ids = session.runtime.history.short_ids(ids)
        session.output.table(_PEEK_COLUMNS, [_waiting_row(entry, short_ids) for entry in result.entries])
    if result.hidden:
        session.output.note(
            f"Queue {result.queue!r} has {pluralize(result.hidden, 'message')} without an email in the"
            " delivery log; this broker does not show messages."
        )
    elif not result.entries:
        session.output.note(f"Queue {result.queue!r} is empty.")


def _view(queue: QueueStatus) -> QueueView:
    from mailctl.views.queues import QueueView

    return QueueView.of(queue)


def _row(queue: QueueStatus) -> list[str]:
    from mailctl.timefmt import format_age, format_rate

    in_log, rate = queue.log_depth, queue.rate
    numbers = (queue.depth, queue.in_flight, in_log.scheduled, in_log.deferred)
    return [
        queue.name,
        *(str(number) for number in numbers),
        format_age(queue.oldest_age_seconds),
        f"{format_rate(rate.incoming)}/{format_rate(rate.outgoing)}",
        "unknown" if queue.seconds_to_empty is None else format_age(queue.seconds_to_empty),
        ", ".join(mark for mark, is_set in _marks(queue).items() if is_set),
    ]


def _marks(queue: QueueStatus) -> dict[str, bool]:
    foreign = queue.unlogged_ready + queue.unlogged_unacked
    return {
        "paused": queue.pause is not None,
        "no worker answers": not queue.workers and bool(queue.ready),
        f"{queue.log_depth.held} held": bool(queue.log_depth.held),
        f"{foreign} not in the log": bool(foreign),
        f"{queue.unclaimed} unclaimed": bool(queue.unclaimed),
    }


def _note_pauses(session: CliSession, found: QueueList) -> None:
    for pause in (*(queue.pause for queue in found.queues if queue.pause), *found.paused_kinds):
        session.output.note(str(pause))
    for limit in found.learned_limits:
        session.output.note(limit)


def _waiting_row(entry: QueueEntry, short_ids: Mapping[str, str]) -> list[str]:
    from mailctl.timefmt import format_age

    return [
        str(entry.position),
        short_ids.get(entry.task_id or "", "?"),
        entry.kind or "?",
        entry.to or "",
        format_age(entry.age_seconds),
        "" if entry.attempts is None else str(entry.attempts),
        entry.state or "not in the log",
    ]
