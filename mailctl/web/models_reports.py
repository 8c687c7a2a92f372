"""What the endpoints for programs answer about all emails together; the names are those of `--json`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import Field

from mailctl.delivery_log.queries.stat_models import Dimension
from mailctl.domain.models import State
from mailctl.web.models import ApiModel

if TYPE_CHECKING:
    from mailctl.delivery_log.queries.queue_stats import QueueDepth
    from mailctl.delivery_log.queries.stat_models import StatsGroup
    from mailctl.delivery_log.queries.time_series import TimeSeriesPoint
    from mailctl.delivery_log.suppressions import SuppressionPage
    from mailctl.monitoring.queues import QueueList as AllQueues
    from mailctl.monitoring.queues import QueueStatus
    from mailctl.monitoring.snapshot import Snapshot, Trend
    from mailctl.monitoring.stats import StatsReport
    from mailctl.monitoring.workers import WorkerList, WorkerStatus

_NO_TROUBLE = "Why the broker could not be asked; null where it could."


class ActivityModel(ApiModel):
    """What happened in a minute."""

    recorded: int
    delivered: int
    failed: int
    failure_rate: float | None = Field(description="From 0 to 1; null where nothing ended.")


class LatencyModel(ApiModel):
    """Seconds from when an email might go out to when the mail server took it."""

    count: int = Field(description="How many emails this was counted from.")
    p50: float | None
    p95: float | None
    p99: float | None
    longest: float | None


class StepModel(ApiModel):
    """What happened in one minute."""

    at: datetime
    recorded: int
    delivered: int
    deferred: int
    failed: int
    unfinished: int = Field(description="Emails that were not finished at its end.")
    p50: float | None = Field(description="Seconds, of the emails recorded in that minute.")
    p95: float | None
    p99: float | None

    @classmethod
    def of(cls, step: TimeSeriesPoint, unfinished: int) -> StepModel:
        """Return it for programs."""
        return cls(
            at=step.at,
            recorded=step.recorded,
            delivered=step.delivered,
            deferred=step.deferred,
            failed=step.failed,
            unfinished=unfinished,
            p50=step.p50,
            p95=step.p95,
            p99=step.p99,
        )


class DepthModel(ApiModel):
    """What is unfinished in a queue, by the log."""

    queue: str
    depth: int = Field(description="Emails that are due now and not finished.")
    scheduled: int
    states: dict[State, int]

    @classmethod
    def of(cls, queue: QueueDepth) -> DepthModel:
        """Return it for programs."""
        states = dict(queue.states)
        return cls(queue=queue.queue, depth=queue.depth, scheduled=queue.scheduled, states=states)


class OverviewModel(ApiModel):
    """How things stand, and the hour before."""

    at: datetime
    per_minute: ActivityModel
    latency: LatencyModel
    queues: list[DepthModel]
    workers: int = Field(description="Those that share the delivery log and are alive.")
    circuit: str | None = Field(description="Why nothing is sent; null where the mail server works.")
    course: list[StepModel]

    @classmethod
    def of(cls, overview: Snapshot, trend: Trend) -> OverviewModel:
        """Return it for programs."""
        steps = zip(trend.steps, trend.unfinished, strict=True)
        return cls(
            at=overview.at,
            per_minute=ActivityModel.model_validate(overview.recent_activity),
            latency=LatencyModel.model_validate(trend.latency),
            queues=[DepthModel.of(queue) for queue in overview.queues],
            workers=len(overview.workers),
            circuit=str(overview.circuit) if overview.circuit else None,
            course=[StepModel.of(step, unfinished) for step, unfinished in steps],
        )


class PauseModel(ApiModel):
    """A queue or a kind that an operator has stopped."""

    scope: str
    name: str
    reason: str
    actor: str
    since: datetime


class QueueModel(ApiModel):
    """A queue, as `mailctl queue list --json` has it."""

    queue: str
    depth: int = Field(description="Emails that are due now and not finished.")
    pending: int
    queued: int
    in_flight: int
    scheduled: int
    deferred: int
    held: int
    oldest_age_seconds: float | None
    in_per_minute: float
    out_per_minute: float
    seconds_to_empty: float | None = Field(description="Null while nothing goes out.")
    workers: int
    foreign: int = Field(description="Messages on the broker that the log knows nothing of.")
    unclaimed: int | None = Field(
        description="Messages of other apps that were moved aside; null if unknown."
    )
    paused: PauseModel | None

    @classmethod
    def of(cls, queue: QueueStatus) -> QueueModel:
        """Return it for programs."""
        stock = queue.log_depth
        return cls(
            queue=queue.name,
            depth=queue.depth,
            pending=stock.pending,
            queued=stock.queued,
            in_flight=queue.in_flight,
            scheduled=stock.scheduled,
            deferred=stock.deferred,
            held=stock.held,
            oldest_age_seconds=queue.oldest_age_seconds,
            in_per_minute=queue.rate.incoming,
            out_per_minute=queue.rate.outgoing,
            seconds_to_empty=queue.seconds_to_empty,
            workers=queue.workers,
            foreign=queue.unlogged_ready + queue.unlogged_unacked,
            unclaimed=queue.unclaimed,
            paused=PauseModel.model_validate(queue.pause) if queue.pause else None,
        )


class QueuesModel(ApiModel):
    """All queues."""

    queues: list[QueueModel]
    paused_kinds: list[PauseModel]
    trouble: str | None = Field(description=_NO_TROUBLE)

    @classmethod
    def of(cls, found: AllQueues) -> QueuesModel:
        """Return them for programs."""
        return cls(
            queues=[QueueModel.of(queue) for queue in found.queues],
            paused_kinds=[PauseModel.model_validate(pause) for pause in found.paused_kinds],
            trouble=found.broker_error.message if found.broker_error else None,
        )


class WorkerModel(ApiModel):
    """A worker, as `mailctl workers --json` has it; what it does not tell is null."""

    worker: str
    host: str | None
    pid: int | None
    pool: str | None
    concurrency: int | None
    queues: list[str]
    busy: int | None
    sent_last_minute: int | None
    sent_last_five_minutes: int | None
    since: datetime | None
    shares_log: bool
    answers: str

    @classmethod
    def of(cls, member: WorkerStatus) -> WorkerModel:
        """Return it for programs."""
        throughput = member.throughput
        return cls(
            worker=member.name,
            host=member.host,
            pid=member.pid,
            pool=member.pool,
            concurrency=member.concurrency,
            queues=list(member.queues),
            busy=member.busy,
            sent_last_minute=throughput.last_minute if throughput else None,
            sent_last_five_minutes=throughput.last_five_minutes if throughput else None,
            since=member.since,
            shares_log=member.shares_log,
            answers=member.answer,
        )


class WorkersModel(ApiModel):
    """The workers that are alive."""

    workers: list[WorkerModel]
    trouble: str | None = Field(description=_NO_TROUBLE)

    @classmethod
    def of(cls, roll: WorkerList) -> WorkersModel:
        """Return them for programs."""
        workers = [WorkerModel.of(member) for member in roll.workers]
        return cls(workers=workers, trouble=roll.broker_error.message if roll.broker_error else None)


class TotalsModel(ApiModel):
    """How many emails, and what became of them."""

    recorded: int
    delivered: int
    failed: int
    unfinished: int
    failure_rate: float | None = Field(description="Of those tried to the end, from 0 to 1.")
    states: dict[State, int]


class GroupModel(ApiModel):
    """The emails that have one thing in common."""

    name: str = Field(description="Empty for those that have none, such as no campaign.")
    share: float
    totals: TotalsModel

    @classmethod
    def of(cls, share: StatsGroup) -> GroupModel:
        """Return it for programs."""
        return cls(name=share.name, share=share.share, totals=TotalsModel.model_validate(share.totals))


class PointModel(ApiModel):
    """The emails recorded in one span, and what became of them so far."""

    at: datetime
    recorded: int
    delivered: int
    failed: int


class StatsModel(ApiModel):
    """Figures on a span of time."""

    since: datetime
    until: datetime
    totals: TotalsModel
    latency: LatencyModel
    by: Dimension
    groups: list[GroupModel]
    bucket_seconds: int
    points: list[PointModel]

    @classmethod
    def of(cls, report: StatsReport) -> StatsModel:
        """Return them for programs."""
        return cls(
            since=report.since,
            until=report.until,
            totals=TotalsModel.model_validate(report.totals),
            latency=LatencyModel.model_validate(report.latency),
            by=report.dimension,
            groups=[GroupModel.of(share) for share in report.groups],
            bucket_seconds=int(report.bucket.total_seconds()),
            points=[PointModel.model_validate(point) for point in report.points],
        )


class SuppressionModel(ApiModel):
    """An address that nothing is sent to."""

    address: str
    source: str
    reason: str
    code: int | None
    enhanced: str | None
    actor: str | None
    created_at: datetime


class SuppressionsModel(ApiModel):
    """A page of suppressed addresses."""

    suppressions: list[SuppressionModel]
    next: str | None = Field(description="What to give as `after` for the next page; null on the last.")

    @classmethod
    def of(cls, page: SuppressionPage) -> SuppressionsModel:
        """Return it for programs."""
        entries = [SuppressionModel.model_validate(entry) for entry in page.entries]
        return cls(suppressions=entries, next=page.cursor)
