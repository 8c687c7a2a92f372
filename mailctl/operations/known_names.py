"""Names of queues and campaigns: an unknown one is an error, not an empty queue or campaign."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.broker.messages import unclaimed_queue
from mailctl.delivery_log.pauses import PauseScope
from mailctl.delivery_log.queries.campaign_stats import count_campaigns
from mailctl.delivery_log.queries.search import EmailFilter, search
from mailctl.errors import BrokerUnavailable, NotFound, closest_name, suggest_name
from mailctl.settings import BULK_QUEUE

if TYPE_CHECKING:
    from mailctl.runtime import Runtime

#: The campaigns that the error for an unknown one names.
_SHOWN_CAMPAIGNS = 5


def known_queues(runtime: Runtime) -> frozenset[str]:
    """Return the queues that the settings, live workers or pauses name.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    consumed = {name for worker in runtime.workers.list_alive() for name in worker.email_queues}
    paused = {pause.name for pause in runtime.pauses.read() if pause.scope is PauseScope.QUEUE}
    return frozenset({runtime.settings.celery_queue_default, BULK_QUEUE} | consumed | paused)


def is_known_queue(runtime: Runtime, queue: str) -> bool:
    """Whether the settings or the delivery log know a queue.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    return queue in known_queues(runtime) or _has_email(runtime, EmailFilter(queue=queue))


def check_queue(runtime: Runtime, queue: str) -> None:
    """Raise if neither the settings nor the delivery log know a queue.

    Raises:
        LogUnavailable: the delivery log cannot be read.
        NotFound: the queue is unknown.
    """
    if not is_known_queue(runtime, queue):
        raise _unknown_queue_error(runtime, queue)


def check_queue_anywhere(runtime: Runtime, queue: str) -> None:
    """Raise if neither the settings, the delivery log, the service's app nor the broker know a queue.

    Raises:
        LogUnavailable: the delivery log cannot be read.
        NotFound: the queue is unknown.
    """
    # Importing the app is slow, so it comes late.
    if not (is_known_queue(runtime, queue) or _is_of_app(runtime, queue) or _is_on_broker(runtime, queue)):
        raise _unknown_queue_error(runtime, queue)


def check_campaign(runtime: Runtime, campaign: str) -> None:
    """Raise if the delivery log has no email of a campaign.

    Raises:
        LogUnavailable: the delivery log cannot be read.
        NotFound: the campaign is unknown.
    """
    if not _has_email(runtime, EmailFilter(campaign=campaign)):
        raise unknown_campaign(runtime, campaign)


def unknown_campaign(runtime: Runtime, campaign: str) -> NotFound:
    """Return the error for a campaign that is unknown; it names the one that was meant, or the latest ones.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    message = f"The delivery log at {runtime.masked_log_url} has no email of campaign {campaign!r}."
    known = [each.name for each in count_campaigns(runtime.engine, now=runtime.clock())]
    if not known:
        return NotFound(message, fix="No campaign was ever recorded in it.")
    if closest := closest_name(campaign, known):
        return NotFound(message, fix=f"Did you mean {closest!r}?")
    return NotFound(message, fix=f"The latest campaigns are: {', '.join(known[:_SHOWN_CAMPAIGNS])}.")


def check_names(runtime: Runtime, wanted: EmailFilter) -> None:
    """Raise if the queue or the campaign of a filter is unknown; to be called if no email matches.

    Raises:
        LogUnavailable: the delivery log cannot be read.
        NotFound: the queue or the campaign is unknown.
    """
    if wanted.queue:
        check_queue_anywhere(runtime, wanted.queue)
    if wanted.campaign:
        check_campaign(runtime, wanted.campaign)


def _unknown_queue_error(runtime: Runtime, queue: str) -> NotFound:
    known = sorted(known_queues(runtime))
    return NotFound(f"There is no queue {queue!r}.", fix=suggest_name(queue, known, label="Queues"))


def _has_email(runtime: Runtime, wanted: EmailFilter) -> bool:
    return bool(search(runtime.engine, wanted, limit=1).emails)


def _is_of_app(runtime: Runtime, queue: str) -> bool:
    from mailctl.celery_app import consumed_queues

    queues_of_kinds = (kind.queue for kind in runtime.catalog.custom_kinds.values())
    return bool(runtime.settings.mailctl_app) and queue in (*consumed_queues(runtime.app), *queues_of_kinds)


def _is_on_broker(runtime: Runtime, queue: str) -> bool:
    """Whether the broker holds messages of a queue; False if it does not answer."""
    if runtime.settings.is_broker_private:
        return False
    from mailctl.broker.inspector import BrokerInspector

    try:
        return any(BrokerInspector(runtime.app).ready_counts((queue, unclaimed_queue(queue))).values())
    except BrokerUnavailable:
        return False
