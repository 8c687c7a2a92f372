"""Publishing single emails in groups, while many of them wait."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailctl.broker.messages import BATCH_TASK
from mailctl.celery_app import overridden_tasks
from mailctl.delivery_log.due import GroupableEmails
from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.domain.models import Email
from mailctl.enqueue.grouping import grouped_queues, groups_of, in_order, single_emails_allowed
from mailctl.errors import MailctlError
from mailctl.settings import GROUPS_QUEUE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from celery import Celery

    from mailctl.domain.models import Draft
    from mailctl.enqueue.live_workers import LiveWorkers
    from mailctl.enqueue.message_sender import MessageSender
    from mailctl.runtime import Runtime

#: Seconds for which the number of messages that wait on the broker is cached.
_COUNT_CACHE_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class Division:
    """How emails are published."""

    #: One by one.
    single: list[Email | Draft]
    #: In groups, by their ids.
    groups: list[Sequence[str]] = field(default_factory=list)
    #: Later, by a relay: the ids.
    left: list[str] = field(default_factory=list)


class GroupPublisher:
    """Decides which emails travel in groups, and publishes these.

    Args:
        runtime: the parts of this process.
        sender: sends the messages.
        workers: the live workers.
        is_relay: whether this process releases groups; others leave emails to the relays.
        worker_id: the worker whose memory holds the messages; None for a broker outside the process.
    """

    def __init__(
        self,
        runtime: Runtime,
        sender: MessageSender,
        workers: LiveWorkers,
        *,
        is_relay: bool,
        worker_id: str | None,
    ) -> None:
        self._runtime = runtime
        self._sender = sender
        self._workers = workers
        self._is_relay = is_relay
        self._worker_id = worker_id
        #: When the broker was asked last, and how many emails may still be published one by one.
        self._single_emails: tuple[float, int] = (0.0, 0)

    def groupable(self) -> GroupableEmails:
        """Return the emails that may travel in groups; none while no worker takes groups.

        Raises:
            LogUnavailable: the delivery log cannot be used.
        """
        if self._runtime.settings.mailctl_messages == "full":
            return GroupableEmails()
        # The memory of a worker is out of reach of the others.
        queues = grouped_queues(
            worker for worker in self._workers.list() if self._worker_id in (None, worker.id)
        )
        return GroupableEmails(queues=queues, own_task_kinds=self.own_task_kinds)

    def divide(self, emails: Sequence[Email | Draft]) -> Division:
        """Return how emails are published, and make those due that are left to relays.

        Raises:
            BrokerUnavailable: the broker does not answer.
            LogUnavailable: the delivery log cannot be used.
        """
        groupable = self.groupable()
        may_be_grouped = {
            email.id: email
            for email in emails
            if groupable.include(queue=email.queue, kind=email.kind, is_own_task=is_own_task(email))
        }
        single = [email for email in emails if email.id not in may_be_grouped]
        if not may_be_grouped:
            return Division(single=single)
        ordered = in_order(may_be_grouped.values())
        allowed = self._allow_single_emails(len(ordered), queues={email.queue for email in ordered})
        single += ordered[:allowed]
        rest = [email.id for email in ordered[allowed:]]
        if self._is_relay:
            return Division(single=single, groups=groups_of(rest))
        if rest:
            self._runtime.publications.leave_to_relays(rest)
        return Division(single=single, left=rest)

    def publish(self, ids: Sequence[str]) -> int:
        """Publish reserved emails as one group; return their number.

        Raises:
            BrokerUnavailable: the broker does not answer.
            LogUnavailable: the delivery log cannot be used.
        """
        self._send(ids)
        self._runtime.publications.mark_queued(ids, worker_id=self._worker_id, is_grouped=True)
        return len(ids)

    def publish_due(self, *, limit: int, but_routes: Collection[str] = ()) -> int:
        """Publish due emails of the delivery log as one group; return their number.

        Raises:
            BrokerUnavailable: the broker does not answer; the emails stay due in the delivery log.
            LogUnavailable: the delivery log cannot be used.
        """
        ids = self._runtime.publications.take_group(
            self.groupable(), limit=limit, worker_id=self._worker_id, but_routes=but_routes
        )
        try:
            if ids:
                self._send(ids)
        except MailctlError as error:
            self._runtime.claims.return_unstarted(ids, reason=str(error))
            raise
        return len(ids)

    def count(self) -> int:
        """Return how many groups wait on the broker.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        return self._sender.ready_count(GROUPS_QUEUE)

    @property
    def own_task_kinds(self) -> frozenset[str]:
        """The built-in kinds whose task the service defines itself."""
        return own_task_kinds(self._runtime.app)

    def _send(self, ids: Sequence[str]) -> None:
        self._sender.send(BATCH_TASK, queue=GROUPS_QUEUE, args=[ids])

    def _allow_single_emails(self, wanted: int, *, queues: Collection[str]) -> int:
        """Return how many emails of these queues may be published one by one now, and count them."""
        asked_at, allowed = self._single_emails
        if time.monotonic() - asked_at > _COUNT_CACHE_SECONDS:
            waiting = max(self._sender.ready_count(queue) for queue in queues)
            asked_at = time.monotonic()
            allowed = single_emails_allowed(waiting=waiting, groups=self.count())
        granted = min(wanted, allowed)
        self._single_emails = (asked_at, allowed - granted)
        return granted


def own_task_kinds(app: Celery) -> frozenset[str]:
    """Return the built-in kinds whose task a service defines itself."""
    own_tasks = overridden_tasks(app)
    return frozenset(kind.name for kind in BUILT_IN_KINDS.values() if kind.task in own_tasks)


def is_own_task(email: Email | Draft) -> bool:
    """Whether a task that the service itself defines sends an email."""
    return email.is_own_task if isinstance(email, Email) else email.content.own_task is not None
