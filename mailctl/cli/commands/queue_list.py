"""`mailctl queue list` and `queue peek`: what waits, how fast it flows, and what comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.delivery_log.storage.access_mode import AccessMode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailctl.monitoring.queues import QueueEntry, QueueList, QueueStatus

#: What comes in and goes out, in a minute.
_RATES = "in/out"
_COLUMNS = ["queue", "depth", "busy", "later", "retry", "oldest", _RATES, "empty in", ""]


@uses_log(AccessMode.READ)
def list_queues(session: CliSession) -> None:
    """List the queues: depth, in flight, oldest age, rates a minute, and when each will be empty."""
    from mailctl.monitoring.queues import Queues

    session.allow_missing_log()
    found = Queues(session.runtime).list_queues()
    if session.output.as_json:
        from mailctl.views.queues import QueueView

        for queue in found.queues:
            session.output.record(QueueView.of(queue))
    else:
        session.output.table(_COLUMNS, [_row(queue) for queue in found.queues])
    _note_pauses(session, found)
    if found.broker_error:
        raise found.broker_error


@uses_log(AccessMode.READ)
def peek(
    session: CliSession,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A queue; default: CELERY_QUEUE_DEFAULT.")
    ] = None,
    number: Annotated[int, typer.Option("--number", "-n", min=1, max=1000, help="How many at most.")] = 20,
) -> None:
    """Show what comes next in a queue, in order, and take nothing out of it."""
    from mailctl.monitoring.queues import Queues
    from mailctl.operations.known_names import check_queue_anywhere

    session.allow_missing_log()
    line = Queues(session.runtime).peek(name, limit=number)
    if name is not None and not line.entries and not line.broker_error:
        check_queue_anywhere(session.runtime, name)
    if session.output.as_json:
        from mailctl.views.queues import QueueEntryView

        for waiting in line.entries:
            session.output.record(QueueEntryView.of(line, waiting))
    elif line.entries:
        columns = ["", "id", "kind", "to", "age", "attempts", "state"]
        ids = (waiting.task_id for waiting in line.entries if waiting.task_id)
        short_ids = session.runtime.history.short_ids(ids)
        session.output.table(columns, [_waiting_row(waiting, short_ids) for waiting in line.entries])
    if not line.entries:
        session.output.note(f"Nothing waits in queue {line.queue!r}.")
    if line.broker_error:
        raise line.broker_error


def _row(queue: QueueStatus) -> list[str]:
    from mailctl.timefmt import format_age, format_rate

    stock, rate = queue.log_depth, queue.rate
    numbers = (queue.depth, queue.in_flight, stock.scheduled, stock.deferred)
    return [
        queue.name,
        *(str(number) for number in numbers),
        format_age(queue.oldest_age_seconds),
        f"{format_rate(rate.incoming)}/{format_rate(rate.outgoing)}",
        "never" if queue.seconds_to_empty is None else format_age(queue.seconds_to_empty),
        ", ".join(mark for mark, is_set in _marks(queue).items() if is_set),
    ]


def _marks(queue: QueueStatus) -> dict[str, bool]:
    foreign = queue.unlogged_ready + queue.unlogged_unacked
    return {
        "paused": queue.pause is not None,
        "no worker": not queue.workers and bool(queue.ready),
        f"{queue.log_depth.held} held": bool(queue.log_depth.held),
        f"{foreign} not in the log": bool(foreign),
        f"{queue.unclaimed} unclaimed": bool(queue.unclaimed),
    }


def _note_pauses(session: CliSession, found: QueueList) -> None:
    for pause in (*(queue.pause for queue in found.queues if queue.pause), *found.paused_kinds):
        session.output.note(str(pause))


def _waiting_row(waiting: QueueEntry, short_ids: Mapping[str, str]) -> list[str]:
    from mailctl.timefmt import format_age

    return [
        str(waiting.position),
        short_ids.get(waiting.task_id or "", "?"),
        waiting.kind or "?",
        waiting.to or "",
        format_age(waiting.age_seconds),
        "" if waiting.attempts is None else str(waiting.attempts),
        waiting.state or "not in the log",
    ]
