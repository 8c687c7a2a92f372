"""How emails are sent, as the message that names them says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from billiard.process import current_process

from mailctl.worker.soft_time_limit import NO_LIMIT, SoftTimeLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celery import Task

    from mailctl.worker.outcome_recorder import DeliveryResult


def ignore_results(_results: Sequence[DeliveryResult]) -> None:
    """Do nothing: nobody asks Celery for the results of a campaign's emails."""


@dataclass(frozen=True, kw_only=True)
class DeliveryOptions:
    """How emails are sent."""

    #: Whether they belong to a campaign, behind which no other email waits.
    is_campaign: bool = False
    #: The queue that their message came from.
    queue: str = ""
    #: Seconds after which an attempt is cancelled; None if it ends by itself.
    seconds: float | None = None
    #: Called in another thread with the results, a few at a time, when they are recorded after the delivery
    #: has returned; not with those of campaigns.
    on_recorded: Callable[[Sequence[DeliveryResult]], object] = ignore_results
    #: Of the task in which they are sent: what was begun is interrupted, and no more is begun.
    soft_limit: SoftTimeLimit = NO_LIMIT


def time_limit_of(task: Task) -> float | None:
    """Return the seconds after which Celery would interrupt a task, which ends before its emails do.

    Only a pool with processes has time limits.
    """
    if current_process().name == "MainProcess":
        return None
    hard, soft = task.request.timelimit or (None, None)
    limits: tuple[Any, ...] = (
        soft or task.soft_time_limit or task.app.conf.task_soft_time_limit,
        hard or task.time_limit or task.app.conf.task_time_limit,
    )
    return min((float(limit) for limit in limits if limit), default=None)
