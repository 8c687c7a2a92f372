"""The JSON objects and the words of `stats`, `top`, `monitor` and `health`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailctl.cli.views import time_view

if TYPE_CHECKING:
    from datetime import datetime

    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.delivery_log.queries.queue_stats import QueueDepth
    from mailctl.delivery_log.queries.stat_models import Activity, StatsGroup, Totals
    from mailctl.domain.models import Email
    from mailctl.monitoring.snapshot import Snapshot
    from mailctl.monitoring.stats import StatsReport


def stats_view(report: StatsReport) -> dict[str, Any]:
    """Return what `stats` says: latencies in seconds, shares and rates from 0 to 1."""
    latency = report.latency
    return {
        "since": time_view(report.since),
        "until": time_view(report.until),
        **_totals_view(report.totals),
        "latency": {
            "count": latency.count,
            "p50": latency.p50,
            "p95": latency.p95,
            "p99": latency.p99,
            "longest": latency.longest,
        },
        "by": report.dimension,
        "groups": [_share_view(share) for share in report.groups],
        "bucket_seconds": int(report.bucket.total_seconds()),
        "points": [
            {
                "at": time_view(point.at),
                "recorded": point.recorded,
                "delivered": point.delivered,
                "failed": point.failed,
            }
            for point in report.points
        ],
    }


def snapshot_view(overview: Snapshot) -> dict[str, Any]:
    """Return what `top` says at one moment: rates in a minute, ages in seconds."""
    return {
        "at": time_view(overview.at),
        "per_minute": _activity_view(overview.recent_activity),
        "queues": [_queue_view(queue, now=overview.at) for queue in overview.queues],
        "workers": [_worker_view(worker) for worker in overview.workers],
        "failures": [_failure_view(email) for email in overview.failures],
        "mail_server": str(overview.circuit) if overview.circuit else None,
    }


def age_seconds(moment: datetime | None, *, now: datetime) -> float | None:
    """Return how long ago something was, in seconds."""
    return None if moment is None else round(max(0.0, (now - moment).total_seconds()), 3)


def percent(share: float | None) -> str:
    """Return a share as people read it, such as 3.5%."""
    return "-" if share is None else f"{share * 100:.1f}%"


def _totals_view(totals: Totals) -> dict[str, Any]:
    return {
        "recorded": totals.recorded,
        "delivered": totals.delivered,
        "failed": totals.failed,
        "unfinished": totals.unfinished,
        "failure_rate": totals.failure_rate,
        "states": {str(state): count for state, count in totals.states.items()},
    }


def _share_view(share: StatsGroup) -> dict[str, Any]:
    return {"name": share.name, "share": share.share, **_totals_view(share.totals)}


def _activity_view(activity: Activity) -> dict[str, Any]:
    return {
        "recorded": activity.recorded,
        "delivered": activity.delivered,
        "failed": activity.failed,
        "failure_rate": activity.failure_rate,
    }


def _queue_view(queue: QueueDepth, *, now: datetime) -> dict[str, Any]:
    return {
        "queue": queue.queue,
        "depth": queue.depth,
        "scheduled": queue.scheduled,
        "oldest_seconds": age_seconds(queue.waiting_since, now=now),
        "states": {str(state): count for state, count in queue.states.items()},
    }


def _worker_view(worker: Worker) -> dict[str, Any]:
    return {
        "name": worker.name,
        "host": worker.host,
        "pid": worker.pid,
        "pool": worker.pool,
        "concurrency": worker.concurrency,
        "queues": list(worker.queues),
        "started_at": time_view(worker.started_at),
        "seen_at": time_view(worker.seen_at),
    }


def _failure_view(email: Email) -> dict[str, Any]:
    return {
        "task_id": email.id,
        "kind": email.kind,
        "to": email.to,
        "error": email.error,
        "updated_at": time_view(email.updated_at),
    }
