"""Metrics in the Prometheus text format; queues, kinds and states are labels, addresses never are."""

from __future__ import annotations

import math
import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from mailctl.delivery_log.pauses import PauseScope
from mailctl.delivery_log.queries.outcome_counts import OUTCOMES, OutcomeCounts, last_sent_at
from mailctl.delivery_log.queries.queue_stats import QueueDepth
from mailctl.delivery_log.queries.stat_models import Dimension
from mailctl.delivery_log.queries.statistics import Statistics
from mailctl.domain.states import UNFINISHED_STATES, State
from mailctl.domain.unicode_safety import escape_controls_as_line
from mailctl.monitoring.snapshot import take_snapshot
from mailctl.process.per_process import PerProcess
from mailctl.settings import BULK_QUEUE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from mailctl.delivery_log.feedback_counts import FeedbackCount
    from mailctl.delivery_log.queries.stat_models import Latency
    from mailctl.monitoring.snapshot import Snapshot
    from mailctl.runtime import Runtime

_MAX_KINDS = 100
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

_Sample = tuple["Mapping[str, str]", float]


@dataclass(frozen=True, kw_only=True)
class _MetricFamily:
    """A metric with its samples."""

    name: str
    type: str
    help: str
    samples: Sequence[_Sample]

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} {self.type}"
        yield from (format_sample(self.name, *sample) for sample in self.samples)


_outcomes: PerProcess[tuple[Runtime, OutcomeCounts]] = PerProcess()


def render_metrics(runtime: Runtime, *, since: timedelta) -> str:
    """Return the current metrics of the delivery log, in the Prometheus text format.

    Args:
        since: the window of the metrics by kind and of the latency; the other metrics cover the whole log.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    snapshot = take_snapshot(runtime)
    statistics = Statistics(runtime.engine, kinds=runtime.catalog.kinds)
    start, seconds = snapshot.at - since, f"{since.total_seconds():g} s"
    queues = _with_configured_queues(snapshot.queues, runtime)
    families = [
        *_email_metrics(statistics, start=start, seconds=seconds, kinds=runtime.catalog.kinds),
        _outcome_metric(runtime, now=snapshot.at),
        *_queue_metrics(queues, now=snapshot.at),
        *_pause_metrics(runtime, [queue.queue for queue in queues]),
        *_service_metrics(snapshot),
        *_sending_metrics(runtime),
        *_latency_metrics(statistics.latency(start), seconds),
        *_feedback_metrics(runtime.feedback_counts.read()),
    ]
    return "\n".join(line for family in families for line in family.lines()) + "\n"


def _with_configured_queues(queues: Sequence[QueueDepth], runtime: Runtime) -> list[QueueDepth]:
    """Return the queues with those of the settings, so that their series exist also while they are empty."""
    configured = (runtime.settings.celery_queue_default, BULK_QUEUE)
    by_name = {name: QueueDepth(queue=name) for name in configured} | {each.queue: each for each in queues}
    return [by_name[name] for name in sorted(by_name)]


def _email_metrics(
    statistics: Statistics, *, start: datetime, seconds: str, kinds: Iterable[str]
) -> list[_MetricFamily]:
    """Return the metrics of emails; the recent ones count from `start`, which was `seconds` seconds ago."""
    states = statistics.totals().states
    groups = {
        group.name: group.totals.states
        for group in statistics.grouped_by(Dimension.KIND, start, limit=_MAX_KINDS)
    }
    recent = [
        ({"kind": kind, "state": state}, float(groups.get(kind, {}).get(state, 0)))
        for kind in dict.fromkeys([*kinds, *groups])
        for state in State
    ]
    return [
        _counter(
            "emails_recorded_total",
            "Emails recorded since the delivery log was created.",
            [({}, float(statistics.total_recorded()))],
        ),
        _gauge(
            "emails",
            "Emails in the delivery log, by state.",
            [({"state": state}, float(states.get(state, 0))) for state in State],
        ),
        _gauge("recent_emails", f"Emails recorded in the last {seconds}, by kind and state.", recent),
    ]


def _outcome_metric(runtime: Runtime, *, now: datetime) -> _MetricFamily:
    _, counts = _outcomes.get(
        lambda: (runtime, OutcomeCounts()), is_usable=lambda existing: existing[0] is runtime
    )
    found = counts.update(runtime.engine, now=now)
    kinds = dict.fromkeys([*runtime.catalog.kinds, *(kind for kind, _ in found)])
    samples = [
        ({"kind": kind, "outcome": state}, float(found[kind, state])) for kind in kinds for state in OUTCOMES
    ]
    return _counter(
        "outcomes_total", "Outcomes of emails, by kind; each outcome of a retried email counts.", samples
    )


def _service_metrics(snapshot: Snapshot) -> list[_MetricFamily]:
    is_open = float(snapshot.circuit is not None)
    failing = [
        ({"server": server}, float(circuit is not None)) for server, circuit in snapshot.mail_servers.items()
    ]
    suspended = "1 while the mail server is failing and sending is suspended, else 0."
    return [
        _gauge("workers", "Live workers.", [({}, len(snapshot.workers))]),
        _gauge("mail_server_circuit_open", suspended, [({}, is_open)]),
        _gauge("mail_server_failing", "1 while the circuit to a mail server is open, else 0.", failing),
    ]


def _sending_metrics(runtime: Runtime) -> list[_MetricFamily]:
    at = last_sent_at(runtime.engine)
    build = {"version": version("mailctl"), "python": platform.python_version()}
    return [
        _gauge(
            "last_sent_timestamp_seconds",
            "Time at which the last email was sent or captured, in seconds since 1970; NaN if none was.",
            [({}, math.nan if at is None else at.timestamp())],
        ),
        _gauge("build_info", "Always 1; the labels say which mailctl this is.", [(build, 1.0)]),
    ]


def _pause_metrics(runtime: Runtime, queues: Iterable[str]) -> list[_MetricFamily]:
    paused = {(pause.scope, pause.name) for pause in runtime.pauses.read()}
    known = [
        *((PauseScope.QUEUE, queue) for queue in queues),
        *((PauseScope.KIND, kind) for kind in runtime.catalog.kinds),
    ]
    samples = [
        ({"scope": scope, "name": name}, float((scope, name) in paused))
        for scope, name in dict.fromkeys([*known, *sorted(paused)])
    ]
    return [_gauge("paused", "1 while a queue, a kind or a campaign is paused, else 0.", samples)]


def _feedback_metrics(counts: Sequence[FeedbackCount]) -> list[_MetricFamily]:
    heard = [({"source": each.source, "result": str(each.result)}, float(each.count)) for each in counts]
    latest: dict[str, float] = {}
    for each in (each for each in counts if each.is_heard):
        latest[each.source] = max(latest.get(each.source, 0.0), each.last_at.timestamp())
    return [
        _counter(
            "feedback_total",
            "Messages and calls from sources of feedback, by source and result.",
            heard,
        ),
        _gauge(
            "feedback_last_heard_timestamp_seconds",
            "Time of the last accepted input from each source of feedback, in seconds since 1970.",
            [({"source": source}, at) for source, at in latest.items()],
        ),
    ]


def _queue_metrics(queues: Sequence[QueueDepth], *, now: datetime) -> list[_MetricFamily]:
    counts = [
        ({"queue": queue.queue, "state": state}, float(queue.states.get(state, 0)))
        for queue in queues
        for state in sorted(UNFINISHED_STATES)
    ]
    depths = [({"queue": queue.queue}, float(queue.depth)) for queue in queues]
    ages = [({"queue": queue.queue}, _age_seconds(queue, now=now)) for queue in queues]
    return [
        _gauge("queue_emails", "Unfinished emails, by queue and state.", counts),
        _gauge("queue_depth", "Emails that are due now and not finished, by queue.", depths),
        _gauge("queue_oldest_age_seconds", "How long the oldest email has waited, by queue.", ages),
    ]


def _age_seconds(queue: QueueDepth, *, now: datetime) -> float:
    """Return how long the oldest email has waited; 0 if none waits."""
    return max(0.0, (now - queue.waiting_since).total_seconds()) if queue.waiting_since else 0.0


def _latency_metrics(latency: Latency, seconds: str) -> list[_MetricFamily]:
    quantiles = {"0.5": latency.p50, "0.95": latency.p95, "0.99": latency.p99}
    samples = [
        ({"quantile": name}, math.nan if value is None else value) for name, value in quantiles.items()
    ]
    window = f"for emails recorded in the last {seconds}"
    return [
        _gauge(
            "recent_latency_seconds",
            f"Time from when an email was due until it was accepted, {window}; NaN if there is none.",
            samples,
        ),
        _gauge(
            "recent_latency_emails", f"Emails whose latency was measured, {window}.", [({}, latency.count)]
        ),
    ]


def _gauge(name: str, help: str, samples: Sequence[_Sample]) -> _MetricFamily:
    return _MetricFamily(name=f"mailctl_{name}", type="gauge", help=help, samples=samples)


def _counter(name: str, help: str, samples: Sequence[_Sample]) -> _MetricFamily:
    return _MetricFamily(name=f"mailctl_{name}", type="counter", help=help, samples=samples)


def format_sample(name: str, labels: Mapping[str, str], value: float) -> str:
    """Return the line of one sample, with its labels escaped."""
    pairs = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
    return f"{name}{{{pairs}}} {_format_number(value)}" if pairs else f"{name} {_format_number(value)}"


def _escape(text: str) -> str:
    # The format can escape line feeds, but no other control characters.
    lines = "\n".join(map(escape_controls_as_line, text.split("\n")))
    return lines.translate(_ESCAPES)


def _format_number(value: float) -> str:
    return "NaN" if math.isnan(value) else f"{value:.12g}"
