"""Metrics in the Prometheus text format; queues, kinds and states are labels, addresses never are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.delivery_log.queries.stat_models import Dimension
from mailctl.delivery_log.queries.statistics import Statistics
from mailctl.domain.unicode_safety import escape_controls_as_line
from mailctl.monitoring.snapshot import take_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from mailctl.delivery_log.queries.queue_stats import QueueDepth
    from mailctl.delivery_log.queries.stat_models import LatencyHistogram
    from mailctl.monitoring.snapshot import Snapshot
    from mailctl.runtime import Runtime

#: Upper bounds of the latency buckets: from a fast server to a greylisting one.
_LATENCY_BUCKETS_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
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
    families = [
        *_email_metrics(statistics, start=start, seconds=seconds),
        *_queue_metrics(snapshot.queues, now=snapshot.at),
        *_service_metrics(snapshot),
    ]
    lines = [line for family in families for line in family.lines()]
    lines += _latency_lines(statistics.latency_histogram(_LATENCY_BUCKETS_SECONDS, start), seconds)
    return "\n".join(lines) + "\n"


def _email_metrics(statistics: Statistics, *, start: datetime, seconds: str) -> list[_MetricFamily]:
    """Return the metrics of emails; the recent ones count from `start`, which was `seconds` seconds ago."""
    recorded = statistics.total_recorded()
    by_state = [({"state": state}, float(count)) for state, count in statistics.totals().states.items()]
    recent = [
        ({"kind": group.name, "state": state}, float(count))
        for group in statistics.grouped_by(Dimension.KIND, start, limit=_MAX_KINDS)
        for state, count in sorted(group.totals.states.items())
    ]
    return [
        _counter("emails_recorded_total", "Emails recorded since the delivery log was created.", recorded),
        _gauge("emails", "Emails in the delivery log, by state.", by_state),
        _gauge("recent_emails", f"Emails recorded in the last {seconds}, by kind and state.", recent),
    ]


def _service_metrics(snapshot: Snapshot) -> list[_MetricFamily]:
    is_open = float(snapshot.circuit is not None)
    suspended = "1 while the mail server is failing and sending is suspended, else 0."
    return [
        _gauge("workers", "Live workers.", [({}, len(snapshot.workers))]),
        _gauge("mail_server_circuit_open", suspended, [({}, is_open)]),
    ]


def _queue_metrics(queues: Sequence[QueueDepth], *, now: datetime) -> list[_MetricFamily]:
    counts = [
        ({"queue": queue.queue, "state": state}, float(count))
        for queue in queues
        for state, count in sorted(queue.states.items())
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


def _latency_lines(counts: LatencyHistogram, seconds: str) -> list[str]:
    name = "mailctl_latency_seconds"
    bounds = [*counts.cumulative_counts.items(), (math.inf, counts.count)]
    return [
        f"# HELP {name} Time from when an email was due until it was accepted, for emails recorded in the "
        f"last {seconds}. This is a window already: use histogram_quantile without rate.",
        f"# TYPE {name} histogram",
        *(format_sample(f"{name}_bucket", {"le": _format_number(bound)}, count) for bound, count in bounds),
        format_sample(f"{name}_sum", {}, counts.sum_seconds),
        format_sample(f"{name}_count", {}, counts.count),
    ]


def _gauge(name: str, help: str, samples: Sequence[_Sample]) -> _MetricFamily:
    return _MetricFamily(name=f"mailctl_{name}", type="gauge", help=help, samples=samples)


def _counter(name: str, help: str, value: float) -> _MetricFamily:
    return _MetricFamily(name=f"mailctl_{name}", type="counter", help=help, samples=[({}, value)])


def format_sample(name: str, labels: Mapping[str, str], value: float) -> str:
    """Return the line of one sample, with its labels escaped."""
    pairs = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
    return f"{name}{{{pairs}}} {_format_number(value)}" if pairs else f"{name} {_format_number(value)}"


def _escape(text: str) -> str:
    # The format can escape line feeds, but no other control characters.
    lines = "\n".join(map(escape_controls_as_line, text.split("\n")))
    return lines.translate(_ESCAPES)


def _format_number(value: float) -> str:
    return "+Inf" if math.isinf(value) else f"{value:.12g}"
