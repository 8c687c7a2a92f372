"""Finds emails whose messages are gone from the broker: neither waiting there nor with a worker."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.broker.messages import unclaimed_queue
from mailctl.domain.retry_policy import OWN_TASK_GRACE_SECONDS
from mailctl.errors import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from celery import Celery

    from mailctl.broker.inspector import BrokerInspector
    from mailctl.broker.messages import BrokerQueue, CeleryMessage
    from mailctl.domain.models import Email
    from mailctl.runtime import Runtime

#: Seconds that a task may run, if its app sets no time limit.
_LONGEST_RUN_SECONDS = 3600


class Rounds:
    """Goes through the published emails page by page, and remembers whose messages were missing last time.

    A message that moves from the broker to a worker is missing once, so only a second time counts. With
    pages, emails of other queues are reached however many wait on one queue.

    Args:
        page_size: the maximum number of emails in a page.
    """

    def __init__(self, page_size: int) -> None:
        self.page_size = page_size
        #: How many of the emails this round has already looked at.
        self.offset = 0
        self._missing: set[str] = set()
        self._missing_before: frozenset[str] = frozenset()

    def missing_again(self, page: Sequence[Email], missing: Sequence[Email]) -> list[Email]:
        """Return those of the missing emails of a page that were missing in the round before, too.

        Args:
            page: the emails from `offset` on.
            missing: those of them whose messages are missing now.
        """
        again = [email for email in missing if email.id in self._missing_before]
        self._missing.update(email.id for email in missing)
        self.offset += len(page)
        if len(page) < self.page_size:
            self._missing_before, self._missing = frozenset(self._missing), set()
            self.offset = 0
        return again


class MissingMessages:
    """Finds emails whose messages are gone.

    Args:
        runtime: the components of this process.
        app: the app to whose broker the messages were published.
        broker: queries that broker and its workers.
        grace_seconds: how long a message may take to be claimed.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        app: Celery,
        broker: BrokerInspector,
        grace_seconds: float = OWN_TASK_GRACE_SECONDS,
    ) -> None:
        self._runtime = runtime
        self._grace_seconds = grace_seconds
        self._app = app
        self._broker = broker

    @property
    def longest_run_seconds(self) -> float:
        """Seconds that a task may run."""
        return float(self._app.conf.task_time_limit or _LONGEST_RUN_SECONDS)

    def find(self, emails: Sequence[Email]) -> list[Email]:
        """Return the emails whose message is neither waiting on the broker nor with a worker.

        Args:
            emails: published emails, the oldest first.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        now, lease = self._runtime.clock(), self._runtime.settings.mailctl_lease_seconds
        old = published_before(emails, before=now - timedelta(seconds=min(self._grace_seconds, lease)))
        if not old:
            return []
        queues = sorted({email.queue for email in old})
        shown = self._broker.inspect_queues([*queues, *map(unclaimed_queue, queues)])
        if any(queue.messages is None for queue in shown.values()):
            return _missing_by_number(published_before(emails, before=now - timedelta(seconds=lease)), shown)
        if any(queue.ready > len(queue.messages or ()) for queue in shown.values()):
            return []  # not all messages were read
        ids = {message.task_id for queue in shown.values() for message in _messages(queue)}
        return [email for email in old if email.id not in ids]

    def without_those_in_hand(self, emails: Sequence[Email]) -> list[Email]:
        """Return emails without those whose tasks workers have; a worker that is busy may not answer."""
        if not emails:
            return []
        queues = {email.queue for email in emails}
        try:
            in_hand = self._broker.tasks_in_hand([email.id for email in emails], queues=queues)
        except BrokerUnavailable:  # perhaps this user may not ask workers
            return self._older_than_a_run(emails)
        free = [email for email in emails if email.id not in in_hand.ids]
        return free if in_hand.is_complete else self._older_than_a_run(free)

    def late(self, emails: Sequence[Email]) -> list[Email]:
        """Return the emails that expired so long ago that no task can still be sending them."""
        latest = self._runtime.clock() - timedelta(seconds=OWN_TASK_GRACE_SECONDS)
        return [email for email in emails if email.expires_at is not None and email.expires_at < latest]

    def _older_than_a_run(self, emails: Sequence[Email]) -> list[Email]:
        longest = timedelta(seconds=self.longest_run_seconds)
        return published_before(emails, before=self._runtime.clock() - longest)


def published_before(emails: Sequence[Email], *, before: datetime) -> list[Email]:
    """Return the emails that were published before a time."""
    return [email for email in emails if (email.queued_at or email.updated_at) < before]


def _missing_by_number(emails: Sequence[Email], shown: dict[str, BrokerQueue]) -> list[Email]:
    """Return the emails that are older than all messages of their queue; for brokers that only count them."""
    by_queue: defaultdict[str, list[Email]] = defaultdict(list)
    for email in emails:
        by_queue[email.queue].append(email)
    return [
        email
        for queue, oldest_first in by_queue.items()
        for email in oldest_first[: max(0, len(oldest_first) - _ready_count(queue, shown))]
    ]


def _ready_count(queue: str, shown: dict[str, BrokerQueue]) -> int:
    names = (queue, unclaimed_queue(queue))
    return sum(shown[name].ready for name in names if name in shown)


def _messages(queue: BrokerQueue) -> tuple[CeleryMessage, ...]:
    return (*(queue.messages or ()), *(queue.unacked or ()))
