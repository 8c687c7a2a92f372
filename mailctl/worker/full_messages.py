"""Watches emails that were published in full: a worker without this log may have taken and sent them.

The result says what became of it. Without one, an email whose message is gone is published again only if the
broker has evidently lost what it had; otherwise it is held for an operator.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING

from mailctl.celery_app import unreadable_results_reason
from mailctl.domain.own_tasks import OTHER_WORKER
from mailctl.domain.retry_policy import (
    OWN_TASK_GRACE_SECONDS,
    PUBLICATION_NOTE_SECONDS,
    UNCLAIMED_GRACE_SECONDS,
)
from mailctl.errors import BrokerUnavailable
from mailctl.recorder.missing_messages import MissingMessages, Rounds, published_before
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from mailctl.broker.inspector import BrokerInspector
    from mailctl.domain.models import Email
    from mailctl.runtime import Runtime

_log = logging.getLogger("mailctl.relay")

#: The maximum number of emails in one check.
_LIMIT = 200
#: How long a worker without this log still counts as a consumer after it was last seen.
_OTHER_WORKER_WINDOW = timedelta(days=1)
_WHY_UNKNOWN = (
    "its message, which carried the whole email, is no longer on the broker,"
    " and no result tells what became of it"
)


class FullMessageWatch:
    """Ends emails that were published in full, publishes them again, or holds them.

    Args:
        runtime: the components of this process.
        broker: queries the broker, the result backend and the workers.
        has_result: records the outcome in the result of an email; returns whether there is one, or the task
            is running.
    """

    def __init__(
        self, runtime: Runtime, *, broker: BrokerInspector, has_result: Callable[[Email], bool]
    ) -> None:
        self._runtime = runtime
        self._broker = broker
        self._has_result = has_result
        self._messages = MissingMessages(
            runtime, app=runtime.app, broker=broker, grace_seconds=UNCLAIMED_GRACE_SECONDS
        )
        self._rounds = Rounds(_LIMIT)

    def check(self) -> None:
        """Check the emails that were published in full and have no outcome yet.

        Raises:
            BrokerUnavailable: the broker or the result backend does not answer.
            LogUnavailable: the delivery log does not answer.
        """
        emails = self._runtime.own_task_emails.published_in_full(limit=_LIMIT, offset=self._rounds.offset)
        # Results are asked for one by one, so only those of emails whose message does not wait any more.
        missing = self._messages.find(emails)
        unfinished = [email for email in missing if not self._has_result(email)]
        gone = self._messages.without_those_in_hand(self._rounds.missing_again(emails, unfinished))
        late = self._messages.late([email for email in emails if email not in missing])
        expired = [email.id for email in late if not self._has_result(email)]
        self._runtime.own_task_emails.expire(expired, sender=OTHER_WORKER)
        if not gone:
            return
        lost = self._lost(gone)
        if lost and self._runtime.recovery.return_lost_full_messages([email.id for email in lost]):
            _log.warning("the broker lost %s; publishing again", pluralize(len(lost), "message"))
        self._hold([email for email in gone if email not in lost])

    def _lost(self, emails: Sequence[Email]) -> list[Email]:
        """Return the emails whose messages the broker never got, or has lost with its other data.

        Emails are left out if a worker without this log consumes their queue, or was seen when emails were
        published to it: it may have taken the messages first.
        """
        noted_since = self._runtime.clock() - timedelta(seconds=PUBLICATION_NOTE_SECONDS)
        old = published_before(emails, before=noted_since)  # the broker keeps no note of these any more
        lost_ids = self._broker.find_lost_messages([email.id for email in emails if email not in old])
        lost = [email for email in emails if email.id in lost_ids]
        consumed = self._consumed_by_others({email.queue for email in lost}) if lost else None
        if consumed is None:
            return []
        since = min(email.queued_at or email.updated_at for email in lost) - _OTHER_WORKER_WINDOW
        consumed |= self._runtime.own_task_emails.queues_of_other_workers(since=since)
        return [email for email in lost if email.queue not in consumed]

    def _consumed_by_others(self, queues: Collection[str]) -> frozenset[str] | None:
        """Return the queues of workers without this log; None if a worker of these queues does not answer."""
        sharing = {worker.name for worker in self._runtime.workers.list_alive()}
        try:
            nodes = self._broker.queues_by_worker()
            if self._broker.has_silent_worker(nodes, queues=queues):
                return None
        except BrokerUnavailable:  # perhaps this user may not ask workers
            return None
        others = (consumed for node, consumed in nodes.items() if node not in sharing)
        return frozenset(chain.from_iterable(others))

    def _hold(self, emails: Sequence[Email]) -> None:
        lease = self._runtime.settings.mailctl_lease_seconds
        grace = timedelta(seconds=min(OWN_TASK_GRACE_SECONDS, lease))
        ids = [email.id for email in published_before(emails, before=self._runtime.clock() - grace)]
        why = unreadable_results_reason(self._runtime.app) or _WHY_UNKNOWN
        if ids and self._runtime.own_task_emails.hold_unknown(ids, why=why, sender=OTHER_WORKER):
            _log.warning(
                "holding %s: it is unknown whether %s sent them", pluralize(len(ids), "email"), OTHER_WORKER
            )
