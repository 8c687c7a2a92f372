"""`mailctl top`: watch rates, queues, workers and failures."""

from __future__ import annotations

import itertools
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.terminal.charts import sparkline
from mailctl.cli.terminal.interrupts import watching
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.unicode_safety import escape_controls_as_line
from mailctl.errors import MailctlError
from mailctl.timefmt import TimeStyle, format_elapsed, format_optional_time, format_time, seconds_since

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.text import Text

    from mailctl.monitoring.incident.models import Incident
    from mailctl.monitoring.snapshot import Snapshot

#: Maximum number of snapshots in a sparkline.
_MAX_SNAPSHOTS = 300
#: Where the sparkline begins in its line, in cells.
_SPARKLINE_OFFSET = 26
_QUEUE_COLUMNS = ("queue", "depth", "sending", "deferred", "scheduled", "held", "oldest")


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """The state of the delivery log at one time."""

    snapshot: Snapshot
    incident: Incident


@uses_log(AccessMode.READ)
def top(
    session: CliSession,
    interval: Annotated[
        float | None,
        typer.Option(
            "--interval",
            min=0.1,
            max=3600,
            metavar="SECONDS",
            help="Time between snapshots, in seconds; default: 1.",
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            "--count", min=1, metavar="NUMBER", help="Stop after this number of snapshots; default: never."
        ),
    ] = None,
) -> None:
    """Watch rates, queues, workers and failures live.

    The first line says what is wrong now, like `mailctl incident`, but judging by the delivery log alone.

    Press q to quit. A pipe or a file gets one snapshot, unless --interval or --count is given; --json prints
    one object per snapshot.

    \b
    Examples:
      mailctl top
      mailctl top --json --interval 10

    \b
    Exit codes:
      0  You pressed q or Ctrl-C, or --count snapshots were printed.
      3  There is no delivery log.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl incident, mailctl stats, mailctl queue list, mailctl workers list
    """
    seconds = interval or 1.0
    with watching():
        if session.output.has_screen:
            _watch(session, seconds=seconds, limit=count)
        else:
            is_endless = count is None and interval is not None
            _print(session, seconds=seconds, limit=None if is_endless else count or 1)


def _print(session: CliSession, *, seconds: float, limit: int | None) -> None:
    for sample in _samples(session, seconds=seconds, limit=limit):
        if session.output.as_json:
            from mailctl.views.snapshot import SnapshotView

            session.output.record(SnapshotView.of(sample.snapshot, sample.incident))
        else:
            session.output.lines(_lines(sample, width=session.output.width))


def _samples(session: CliSession, *, seconds: float, limit: int | None) -> Iterator[_Sample]:
    for number in itertools.count(1):
        yield _take_sample(session)
        if number == limit:
            return
        time.sleep(seconds)


def _take_sample(session: CliSession) -> _Sample:
    from mailctl.monitoring.incident.report import find_logged_incident
    from mailctl.monitoring.snapshot import take_snapshot

    snapshot = take_snapshot(session.runtime)
    return _Sample(snapshot=snapshot, incident=find_logged_incident(session.runtime))


def _watch(session: CliSession, *, seconds: float, limit: int | None) -> None:
    from mailctl.cli.terminal.keyboard import keyboard

    error_message = ""
    history: deque[_Sample] = deque([_take_sample(session)], maxlen=_MAX_SNAPSHOTS)
    with keyboard() as keys, session.output.full_screen() as show:
        for number in itertools.count(1):
            key: str | None = None
            while key is None:
                show(partial(_screen, history, error_message))
                if number == limit:
                    return
                key = keys.wait_for_quit(seconds)
            if key == "q":
                return
            try:
                history.append(_take_sample(session))
                error_message = ""
            except MailctlError as error:
                # Keep watching: the delivery log may become available again.
                error_message = error.message


def _screen(history: Sequence[_Sample], error_message: str, width: int, height: int) -> list[Text]:
    from rich.text import Text

    latest = history[-1].snapshot
    title = f"mailctl  {format_optional_time(latest.at)}"
    lines = [Text.assemble((title, "bold"), f"{'q quits':>{max(9, width - len(title))}}")]
    if error_message:
        lines.append(Text(f"outdated: {error_message}", style="bold red"))
    lines.append(_headline(history[-1].incident))
    for name, values in _rate_series(history).items():
        cells = max(0, width - _SPARKLINE_OFFSET)
        lines.append(Text(f"{name:<10}{values[-1]:>6}/min     {sparkline(values[-cells:]) if cells else ''}"))
    lines += _circuit_lines(latest)
    lines += _tables(latest, width=width, failures=max(1, height - len(lines) - 8 - len(latest.workers)))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _lines(sample: _Sample, *, width: int | None) -> list[Text]:
    from rich.text import Text

    snapshot = sample.snapshot
    rates = [Text(f"{name:<10}{values[-1]:>6}/min") for name, values in _rate_series([sample]).items()]
    return [
        _headline(sample.incident),
        *rates,
        *_circuit_lines(snapshot),
        *_tables(snapshot, width=width, failures=len(snapshot.failures)),
    ]


def _headline(incident: Incident) -> Text:
    from rich.text import Text

    from mailctl.cli.terminal.styles import COLORS

    state = "ok" if incident.is_ok else "fail"
    return Text.assemble((f"{state:<4}", COLORS[state]), "  ", escape_controls_as_line(incident.headline))


def _rate_series(history: Sequence[_Sample]) -> dict[str, list[int]]:
    activity = [sample.snapshot.recent_activity for sample in history]
    captured = [each.captured for each in activity]
    return {
        "recorded": [each.recorded for each in activity],
        "sent": [each.sent for each in activity],
        **({"captured": captured} if any(captured) else {}),
        "failed": [each.failed for each in activity],
    }


def _circuit_lines(snapshot: Snapshot) -> list[Text]:
    from rich.text import Text

    failing = [Text(str(circuit), style="bold red") for circuit in snapshot.open_circuits]
    return [*failing, *(Text(limit, style="yellow") for limit in snapshot.learned_limits)]


def _tables(snapshot: Snapshot, *, width: int | None, failures: int) -> list[Text]:
    from rich.text import Text

    from mailctl.cli.terminal.styles import COLORS
    from mailctl.cli.terminal.table import table_lines

    lines = [Text()]
    lines += table_lines(_QUEUE_COLUMNS, _queue_rows(snapshot), width=width, colors=COLORS)
    lines.append(Text())
    if snapshot.workers:
        columns = ("worker", "pid", "pool", "size", "queues")
        lines += table_lines(columns, _worker_rows(snapshot), width=width, colors=COLORS)
    else:
        lines.append(Text("No worker is alive. Start one with `mailctl worker`.", style="bold red"))
    rows = [
        [
            snapshot.short_ids[email.id],
            format_time(email.updated_at, TimeStyle.DAY_SECOND),
            email.kind,
            email.error or "",
        ]
        for email in snapshot.failures[:failures]
    ]
    if rows:
        lines.append(Text())
        lines += table_lines(("failed id", "at", "kind", "reason"), rows, width=width, colors=COLORS)
    return lines


def _queue_rows(snapshot: Snapshot) -> list[list[str]]:
    rows = []
    for queue in snapshot.queues:
        oldest = format_elapsed(seconds_since(queue.waiting_since, now=snapshot.at))
        figures = (queue.depth, queue.sending, queue.deferred, queue.scheduled, queue.held)
        rows.append([queue.queue, *(str(figure) for figure in figures), oldest])
    return rows


def _worker_rows(snapshot: Snapshot) -> list[list[str]]:
    return [
        [worker.name, str(worker.pid), worker.pool, str(worker.concurrency), " ".join(worker.queues)]
        for worker in snapshot.workers
    ]
