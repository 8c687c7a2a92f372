"""`mailctl top`: how things stand, live."""

from __future__ import annotations

import itertools
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.terminal.charts import sparkline
from mailctl.cli.terminal.interrupts import watching
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import MailctlError
from mailctl.timefmt import TimeStyle, format_elapsed, format_optional_time, format_time, seconds_since

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.text import Text

    from mailctl.monitoring.snapshot import Snapshot

#: Looks that the sparklines remember.
_MAX_SNAPSHOTS = 300
#: Cells of a line before its sparkline.
_SPARKLINE_OFFSET = 26
_QUEUE_COLUMNS = ("queue", "depth", "sending", "deferred", "scheduled", "held", "oldest")


@uses_log(AccessMode.READ)
def top(
    session: CliSession,
    interval: Annotated[
        float | None,
        typer.Option("--interval", min=0.1, max=3600, help="Seconds between looks; 1 if not given."),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option("--count", min=1, help="Looks at most; into a pipe one, if neither is given."),
    ] = None,
) -> None:
    """Watch rates, queues, workers and the latest failures; q leaves. Into a pipe: one look."""
    seconds = interval or 1.0
    with watching():
        if session.output.has_screen:
            _watch(session, seconds=seconds, looks=count)
        else:
            is_endless = count is None and interval is not None
            _print(session, seconds=seconds, looks=None if is_endless else count or 1)


def _print(session: CliSession, *, seconds: float, looks: int | None) -> None:
    for overview in _snapshots(session, seconds=seconds, looks=looks):
        if session.output.as_json:
            from mailctl.views.snapshot import SnapshotView

            session.output.record(SnapshotView.of(overview))
        else:
            session.output.lines(_lines(overview, width=session.output.width))


def _snapshots(session: CliSession, *, seconds: float, looks: int | None) -> Iterator[Snapshot]:
    from mailctl.monitoring.snapshot import take_snapshot

    for number in itertools.count(1):
        yield take_snapshot(session.runtime)
        if number == looks:
            return
        time.sleep(seconds)


def _watch(session: CliSession, *, seconds: float, looks: int | None) -> None:
    from mailctl.cli.terminal.keyboard import keyboard
    from mailctl.monitoring.snapshot import take_snapshot

    latest, trouble = take_snapshot(session.runtime), ""
    memory: deque[Snapshot] = deque([latest], maxlen=_MAX_SNAPSHOTS)
    with keyboard() as keys, session.output.full_screen() as show:
        for number in itertools.count(1):
            key: str | None = None
            while key is None:
                show(partial(_screen, memory, trouble))
                if number == looks:
                    return
                key = keys.wait_for_quit(seconds)
            if key == "q":
                return
            try:
                memory.append(take_snapshot(session.runtime))
                trouble = ""
            except MailctlError as error:
                # The log may be back in a moment, and then one wants to be here.
                trouble = error.message


def _screen(memory: Sequence[Snapshot], trouble: str, width: int, height: int) -> list[Text]:
    from rich.text import Text

    latest = memory[-1]
    title = f"mailctl  {format_optional_time(latest.at)}"
    lines = [Text.assemble((title, "bold"), f"{'q quits':>{max(9, width - len(title))}}")]
    if trouble:
        lines.append(Text(f"not current: {trouble}", style="bold red"))
    for name, values in _rate_series(memory).items():
        room = max(0, width - _SPARKLINE_OFFSET)
        lines.append(Text(f"{name:<10}{values[-1]:>6}/min     {sparkline(values[-room:]) if room else ''}"))
    lines += _circuit_lines(latest)
    lines += _tables(latest, width=width, failures=max(1, height - len(lines) - 8 - len(latest.workers)))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _lines(overview: Snapshot, *, width: int | None) -> list[Text]:
    from rich.text import Text

    rates = [Text(f"{name:<10}{values[-1]:>6}/min") for name, values in _rate_series([overview]).items()]
    return [
        *rates,
        *_circuit_lines(overview),
        *_tables(overview, width=width, failures=len(overview.failures)),
    ]


def _rate_series(memory: Sequence[Snapshot]) -> dict[str, list[int]]:
    return {
        "recorded": [overview.recent_activity.recorded for overview in memory],
        "delivered": [overview.recent_activity.delivered for overview in memory],
        "failed": [overview.recent_activity.failed for overview in memory],
    }


def _circuit_lines(overview: Snapshot) -> list[Text]:
    from rich.text import Text

    return [Text(str(overview.circuit), style="bold red")] if overview.circuit else []


def _tables(overview: Snapshot, *, width: int | None, failures: int) -> list[Text]:
    from rich.text import Text

    from mailctl.cli.terminal.output import COLORS
    from mailctl.cli.terminal.table import table_lines

    lines = [Text()]
    lines += table_lines(_QUEUE_COLUMNS, _queue_rows(overview), width=width, colors=COLORS)
    lines.append(Text())
    if overview.workers:
        columns = ("worker", "pid", "pool", "size", "queues")
        lines += table_lines(columns, _worker_rows(overview), width=width, colors=COLORS)
    else:
        lines.append(Text("no worker is alive: start one with `mailctl worker`", style="bold red"))
    rows = [
        [
            overview.short_ids[email.id],
            format_time(email.updated_at, TimeStyle.DAY_SECOND),
            email.kind,
            email.error or "",
        ]
        for email in overview.failures[:failures]
    ]
    if rows:
        lines.append(Text())
        lines += table_lines(("failed id", "at", "kind", "reason"), rows, width=width, colors=COLORS)
    return lines


def _queue_rows(overview: Snapshot) -> list[list[str]]:
    rows = []
    for queue in overview.queues:
        oldest = format_elapsed(seconds_since(queue.waiting_since, now=overview.at))
        figures = (queue.depth, queue.sending, queue.deferred, queue.scheduled, queue.held)
        rows.append([queue.queue, *(str(figure) for figure in figures), oldest])
    return rows


def _worker_rows(overview: Snapshot) -> list[list[str]]:
    return [
        [worker.name, str(worker.pid), worker.pool, str(worker.concurrency), " ".join(worker.queues)]
        for worker in overview.workers
    ]
