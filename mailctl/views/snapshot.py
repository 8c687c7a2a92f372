"""The current state of the system: activity, queues, workers, failures, and the past hour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from mailctl.timefmt import seconds_since
from mailctl.views.base import Count, Seconds, Share, Timestamp, View
from mailctl.views.stats import LatencyView, StateCounts

if TYPE_CHECKING:
    from datetime import datetime

    from mailctl.delivery_log.queries.queue_stats import QueueDepth
    from mailctl.delivery_log.queries.time_series import TimeSeriesPoint
    from mailctl.domain.models import Email
    from mailctl.monitoring.incident.models import Incident
    from mailctl.monitoring.snapshot import Snapshot, Trend


class ActivityView(View):
    """The activity of the last minute."""

    recorded: Count
    sent: Count
    captured: Count
    failed: Count
    failure_rate: Share | None = Field(
        description="The share of failed in sent, captured and failed; null if there are none."
    )


class QueueTotalsView(View):
    """The unfinished emails of a queue in the delivery log."""

    queue: str
    depth: Count = Field(description="Emails that are due and not finished.")
    scheduled: Count
    oldest_seconds: Seconds | None = Field(description="How long the oldest email has been due.")
    states: StateCounts

    @classmethod
    def of(cls, queue: QueueDepth, *, now: datetime) -> QueueTotalsView:
        """Return the view of a queue at a point in time."""
        return cls(
            queue=queue.queue,
            depth=queue.depth,
            scheduled=queue.scheduled,
            oldest_seconds=seconds_since(queue.waiting_since, now=now),
            states=queue.states,
        )


class HeartbeatView(View):
    """The last heartbeat of a worker that shares the delivery log."""

    name: str = Field(description="The Celery node name.")
    host: str
    pid: int
    pool: str
    concurrency: int
    queues: list[str]
    started_at: Timestamp
    seen_at: Timestamp


class FailureView(View):
    """An email that failed."""

    task_id: str
    kind: str
    to: str
    error: str | None
    updated_at: Timestamp

    @classmethod
    def of(cls, email: Email) -> FailureView:
        """Return the view of a failed email."""
        return cls(
            task_id=email.id, kind=email.kind, to=email.to, error=email.error, updated_at=email.updated_at
        )


class SnapshotView(View):
    """The current state, as `mailctl top` prints it."""

    at: Timestamp
    ok: bool = Field(description="Whether nothing needs fixing, according to the delivery log.")
    headline: str = Field(description="The first problem in one line, or that nothing is wrong.")
    per_minute: ActivityView
    queues: list[QueueTotalsView]
    workers: list[HeartbeatView] = Field(description="The live workers that share the delivery log.")
    failures: list[FailureView] = Field(description="The latest failures, newest first.")
    mail_server: str | None = Field(description="Why nothing is sent; null while a mail server works.")
    mail_servers: dict[str, str | None] = Field(
        description="Why each mail server gets no email, by host:port or name (host:port); null if it works."
    )
    learned_limits: list[str] = Field(
        description="The rates learned from mail servers that refused messages, in sentences."
    )
    circuit: str | None = Field(description="The same as `mail_server`.")

    @classmethod
    def of(cls, snapshot: Snapshot, incident: Incident) -> SnapshotView:
        """Return the view of a snapshot, and of what was wrong then."""
        circuit = str(snapshot.circuit) if snapshot.circuit else None
        return cls(
            at=snapshot.at,
            ok=incident.is_ok,
            headline=incident.headline,
            per_minute=ActivityView.model_validate(snapshot.recent_activity),
            queues=[QueueTotalsView.of(queue, now=snapshot.at) for queue in snapshot.queues],
            workers=[HeartbeatView.model_validate(worker) for worker in snapshot.workers],
            failures=[FailureView.of(email) for email in snapshot.failures],
            mail_server=circuit,
            mail_servers={
                server: str(circuit) if circuit else None for server, circuit in snapshot.mail_servers.items()
            },
            learned_limits=list(snapshot.learned_limits),
            circuit=circuit,
        )


class TimeSeriesPointView(View):
    """The activity of one minute."""

    at: Timestamp = Field(description="The start of the minute.")
    recorded: Count
    sent: Count
    captured: Count
    deferred: Count
    failed: Count
    unfinished: Count = Field(description="Emails that were not finished at the end of the minute.")
    p50: Seconds | None = Field(description="The latency of the emails recorded in that minute.")
    p95: Seconds | None
    p99: Seconds | None

    @classmethod
    def of(cls, point: TimeSeriesPoint, unfinished: int) -> TimeSeriesPointView:
        """Return the view of a point, with the number of unfinished emails at its end."""
        return cls(
            at=point.at,
            recorded=point.recorded,
            sent=point.sent,
            captured=point.captured,
            deferred=point.deferred,
            failed=point.failed,
            unfinished=unfinished,
            p50=point.p50,
            p95=point.p95,
            p99=point.p99,
        )


class OverviewView(SnapshotView):
    """The current state and the last hour, as the API of the dashboard returns them."""

    latency: LatencyView
    time_series: list[TimeSeriesPointView] = Field(description="The last hour, minute by minute.")

    @classmethod
    def of_trend(cls, snapshot: Snapshot, incident: Incident, trend: Trend) -> OverviewView:
        """Return the view of a snapshot, of what was wrong then, and of the past hour."""
        points = zip(trend.steps, trend.unfinished, strict=True)
        return cls(
            **dict(SnapshotView.of(snapshot, incident)),
            latency=LatencyView.model_validate(trend.latency),
            time_series=[TimeSeriesPointView.of(point, unfinished) for point, unfinished in points],
        )
