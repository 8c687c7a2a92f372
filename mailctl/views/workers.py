"""Workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import AliasPath, Field

from mailctl.monitoring.workers import PingResult
from mailctl.views.base import Timestamp, View

if TYPE_CHECKING:
    from mailctl.monitoring.worker_comparison import Difference
    from mailctl.monitoring.worker_signals import StopResult
    from mailctl.monitoring.workers import DeadWorker, WorkerList, WorkerStatus


class WorkerView(View):
    """A live worker; what it does not report is null."""

    name: str = Field(serialization_alias="worker", description="The Celery node name.")
    host: str | None
    pid: int | None
    pool: str | None
    concurrency: int | None
    queues: list[str]
    busy: int | None = Field(description="Emails that it is sending.")
    sent_last_minute: int | None = Field(None, validation_alias=AliasPath("throughput", "last_minute"))
    sent_last_five_minutes: int | None = Field(
        None, validation_alias=AliasPath("throughput", "last_five_minutes")
    )
    since: Timestamp | None
    shares_log: bool = Field(description="Whether it writes to this delivery log.")
    answer: PingResult = Field(serialization_alias="answers", description="Whether it answers a ping.")
    version: str | None = Field(
        None, validation_alias=AliasPath("identity", "version"), description="Its version of mailctl."
    )
    keys: list[str] | None = Field(
        None,
        validation_alias=AliasPath("identity", "keys"),
        description="Fingerprints of its SECRET_KEY and of earlier ones that it accepts, the newest first.",
    )
    mail_server: str | None = Field(
        None,
        validation_alias=AliasPath("identity", "mail_server"),
        description="host:port of its mail server; empty if it captures emails.",
    )
    log_id: str | None = Field(
        None,
        validation_alias=AliasPath("identity", "log_id"),
        description="The id of the delivery log that it has opened.",
    )
    clock_skew: float | None = Field(
        description="Seconds by which its clock is ahead of the database's; negative if it is behind.",
    )
    problems: list[str] = Field(description="What is wrong with it, in sentences.")

    @classmethod
    def of(cls, worker: WorkerStatus) -> WorkerView:
        """Return the view of a worker."""
        return cls.model_validate(worker)


class DeadWorkerView(View):
    """A worker that has neither signed off nor given a sign of life for a while."""

    name: str = Field(serialization_alias="worker", description="The Celery node name.")
    host: str
    pid: int
    queues: list[str]
    started_at: Timestamp
    seen_at: Timestamp = Field(description="The time of its last heartbeat.")
    held: int = Field(description="Emails that it was sending; others take them over after the lease.")
    lease_until: Timestamp | None = Field(description="When the last lease of these ends.")
    is_suspended: bool = Field(description="Whether it is only stopped by a signal.")

    @classmethod
    def of(cls, worker: DeadWorker) -> DeadWorkerView:
        """Return the view of a dead worker."""
        return cls.model_validate(worker)


class WorkerDifferenceView(View):
    """Something that is not the same for all workers."""

    subject: str = Field(description="Such as version, key, mail server, or the name of a setting.")
    values: dict[str, str] = Field(
        description="What each worker has, by node name; of settings a fingerprint of the value."
    )

    @classmethod
    def of(cls, difference: Difference) -> WorkerDifferenceView:
        """Return the view of a difference."""
        return cls(subject=difference.subject, values=dict(difference.values))


class WorkerListView(View):
    """The live workers."""

    workers: list[WorkerView]
    broker_error: str | None = Field(description="Why the broker could not be queried; null if it answered.")
    problems: list[str] = Field(
        description="What differs between this process and all workers, and which are silent."
    )

    @classmethod
    def of(cls, workers: WorkerList) -> WorkerListView:
        """Return the view of all workers."""
        return cls(
            workers=[WorkerView.of(worker) for worker in workers.workers],
            broker_error=workers.broker_error.message if workers.broker_error else None,
            problems=list(workers.problems),
        )


class WorkerPingView(View):
    """The result of pinging a worker."""

    worker: str
    answers: bool


class WorkerStopView(View):
    """The result of asking a worker to stop."""

    worker: str
    is_requested: bool = Field(description="Whether the worker has received the request.")
    detail: str

    @classmethod
    def of(cls, result: StopResult) -> WorkerStopView:
        """Return the view of a result."""
        return cls(worker=result.name, is_requested=result.is_requested, detail=result.detail)
