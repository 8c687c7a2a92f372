"""Publishing emails: as a reference if the receiving worker shares the delivery log, otherwise in full."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mailctl.broker.messages import BATCH_TASK
from mailctl.broker.task_arguments import REFERENCE_ARGUMENT, recorded_arguments, to_arguments
from mailctl.broker.task_results import forget_result
from mailctl.broker.unvalidated import validated_content
from mailctl.celery_app import has_memory_broker, overridden_tasks
from mailctl.domain.catalog import CANARY, GENERIC, Kind
from mailctl.domain.models import Email
from mailctl.domain.retry_policy import CONFIG_RETRY_SECONDS
from mailctl.domain.senders import SENDER_HEADER, TENANT_HEADER
from mailctl.enqueue.group_publisher import GroupPublisher, is_own_task
from mailctl.enqueue.live_workers import LiveWorkers
from mailctl.enqueue.message_sender import MessageSender
from mailctl.errors import BrokerRefused, ConfigurationError, InvalidInput, MailctlError
from mailctl.settings import BULK_QUEUE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from celery import Celery

    from mailctl.domain.models import Content, Draft, Json
    from mailctl.runtime import Runtime

#: What Celery shows of the arguments of a message, in logs and in monitoring.
_REDACTED_REPRESENTATIONS: Mapping[str, Any] = {"argsrepr": "(redacted)", "kwargsrepr": "(redacted)"}


@dataclass(frozen=True, kw_only=True)
class _TaskCall:
    """A call of a task, as a message carries it."""

    task: str
    kwargs: Mapping[str, Json]
    args: Sequence[Json] = ()
    #: Whether it repeats a call of the service's own code.
    is_repeated: bool = False
    #: Whether it carries the whole email, so that a worker without this log can send it.
    is_in_full: bool = False
    #: Headers of the message, besides those that every message has.
    headers: Mapping[str, str] = field(default_factory=dict)


class Publisher:
    """Publishes emails of the delivery log over a connection of its own; one thread at a time may use it.

    Args:
        runtime: the parts of this process.
        worker_id: the id of the worker in which this runs, the only one that a memory broker reaches; None
            outside a worker.
    """

    def __init__(self, runtime: Runtime, *, worker_id: str | None = None) -> None:
        self._runtime = runtime
        self._app: Celery = runtime.app
        self._is_in_memory = has_memory_broker(self._app)
        self._worker_id = worker_id if self._is_in_memory else None
        self._sender = MessageSender(self._app)
        self._workers = LiveWorkers(runtime.workers)
        #: Publishes emails in groups.
        self.groups = GroupPublisher(
            runtime,
            self._sender,
            self._workers,
            is_relay=worker_id is not None,
            worker_id=self._worker_id,
        )

    @property
    def can_reach_worker(self) -> bool:
        """Whether a worker can receive what this process publishes."""
        return not self._is_in_memory or self._worker_id is not None

    def can_reach_broker(self) -> bool:
        """Return whether the broker answers now; if it does not, messages are sent as if it was not asked."""
        return self._sender.can_reach_broker()

    @property
    def is_backing_off(self) -> bool:
        """Whether the broker failed so recently that it is not asked again yet."""
        return self._sender.is_backing_off

    @property
    def published_count(self) -> int:
        """The number of messages that were published, confirmed or not."""
        return self._sender.sent_count

    def publish_all(self, emails: Sequence[Email | Draft], *, head_start_seconds: float = 0.0) -> int:
        """Publish emails and record that they are on the broker; return their number.

        If many wait, a relay publishes them in groups, and any other process leaves them to the relays.

        An email whose content cannot be decrypted or whose kind is unknown is postponed, and one that can
        never be published fails. Neither stops the others.

        Args:
            head_start_seconds: how long to wait before recording, so that workers get the delivery log first.

        Raises:
            BrokerUnavailable: the broker does not answer; the emails that it has taken are recorded.
            LogUnavailable: the delivery log cannot be used.
        """
        division = self.groups.divide(emails)
        grouped_count = sum(self.groups.publish(ids) for ids in division.groups)
        sent: list[str] = []
        in_full: list[tuple[Email | Draft, _TaskCall]] = []
        own_task_count = 0
        try:
            for email in division.single:
                try:
                    call = self._call_for(email)
                    if call is not None and self._is_for_own_task(call):
                        own_task_count += self._publish_for_own_task(email, call)
                    elif call is not None and call.is_in_full:
                        in_full.append((email, call))
                    elif call is not None:
                        self._sender.send_unconfirmed(**self._options(email, call))
                        sent.append(email.id)
                except ConfigurationError as error:
                    self._postpone(email, error)
                except InvalidInput as error:
                    self._runtime.publications.fail(email.id, reason=str(error))
        finally:
            unconfirmed, failure = self._sender.confirm()
            published = [email_id for email_id in sent if email_id not in unconfirmed]
            if published:
                time.sleep(head_start_seconds)
                self._runtime.publications.mark_queued(published, worker_id=self._worker_id)
        if failure is not None:
            raise failure
        return len(published) + grouped_count + own_task_count + self._publish_in_full(in_full)

    def publish_batch(
        self, *, limit: int, only_routes: Collection[str] = (), but_routes: Collection[str] = ()
    ) -> int:
        """Publish due emails of a campaign as one message; return their number.

        Emails whose task the service defines itself are published one by one, as such tasks take no batches.

        Args:
            limit: how many emails at most.
            only_routes: as `Publications.reserve_due`.
            but_routes: as `Publications.reserve_due`.

        Raises:
            BrokerUnavailable: the broker does not answer; the emails stay due in the delivery log.
            LogUnavailable: the delivery log cannot be used.
        """
        own_kinds = self.groups.own_task_kinds
        if own_kinds:
            # An email that is taken counts as published; what fails before that must not.
            self._sender.reach_broker()
        kinds = self._runtime.campaigns.take_due(
            limit=limit,
            worker_id=self._worker_id,
            own_task_kinds=own_kinds,
            only_routes=only_routes,
            but_routes=but_routes,
        )
        waiting = list(kinds)
        try:
            for email_id in [email_id for email_id in waiting if kinds[email_id] in own_kinds]:
                [email] = self._runtime.history.emails([email_id])
                waiting.remove(email_id)
                self._send_taken(email)
            self._send_batch(waiting)
        except MailctlError as error:
            self._runtime.claims.return_unstarted(waiting, reason=str(error))
            raise
        return len(kinds)

    def _send_batch(self, ids: Sequence[str]) -> None:
        if ids:
            self._sender.send(BATCH_TASK, queue=BULK_QUEUE, args=[ids])

    def is_consumed(self, queue: str) -> bool:
        """Return whether a live worker that shares this delivery log consumes a queue."""
        return queue in self._workers.consumed_queues()

    def count_slots(self, queue: str) -> int:
        """Return how many tasks of a queue live workers execute at the same time."""
        return self._workers.slots(queue)

    def close(self) -> None:
        """Close the connection."""
        self._sender.close()

    def publish_canary(self, canary_id: str, *, queue: str, to: str | None, expires_seconds: float) -> None:
        """Publish a canary that has no row in the delivery log; the worker answers by its Celery result.

        Args:
            to: the recipient, encrypted; None takes the sender address of the worker.
            expires_seconds: seconds after which workers ignore the canary.

        Raises:
            BrokerUnavailable: the broker does not answer.
        """
        self._sender.send(
            CANARY.task,
            queue=queue,
            task_id=canary_id,
            kwargs={"to": to},
            expires=expires_seconds,
            **_REDACTED_REPRESENTATIONS,
        )

    def _call_for(self, email: Email | Draft) -> _TaskCall | None:
        """Return the call of the task that sends an email; None if the email must not be sent."""
        if is_own_task(email):
            content = self._runtime.outbox.content(email.id)
            if content is None:
                raise InvalidInput("content", "the arguments of the service's own task were not kept.")
            if content.own_task is not None:
                return self._repeated_call(email, content, task=content.own_task)
        kind = CANARY if email.kind == CANARY.name else self._runtime.catalog.get_recorded(email.kind)
        if self._is_sent_in_full(email, kind):
            return self._full_call(email, kind)
        return _reference_call(email, kind)

    def _publish_for_own_task(self, email: Email | Draft, call: _TaskCall) -> bool:
        """Publish an email for a task that the service itself defines; return whether it was to be published.

        It is recorded first. Such a task sends an email whenever its message comes, so a message that may be
        on the broker, whatever failed afterwards, must not be published again.
        """
        self._sender.reach_broker()
        if isinstance(email, Email) and email.is_own_task:
            # The result of the last run would be taken for that of the next one.
            forget_result(self._app, email.id)
        if not self._runtime.publications.mark_queued(
            [email.id], worker_id=self._worker_id, is_own_task=True
        ):
            return False
        self._send_recorded(email, call)
        return True

    def _publish_in_full(self, calls: Sequence[tuple[Email | Draft, _TaskCall]]) -> int:
        """Publish emails that a worker without this log may send; return how many were to be published.

        As for own tasks, what may be on the broker must not be published again without proof that it is lost.
        """
        if not calls:
            return 0
        self._sender.reach_broker()
        for email, _ in calls:
            if isinstance(email, Email):
                # It may have been tried before, and the old result would be mistaken for the new one.
                forget_result(self._app, email.id)
        is_provable = self._sender.is_loss_provable(workers=len(self._runtime.workers.list_alive()))
        waiting = self._runtime.publications.mark_in_full(
            [email.id for email, _ in calls], is_loss_provable=is_provable
        )
        marked = [(email, call) for email, call in calls if email.id in waiting]
        unsent = [email.id for email, _ in marked]
        try:
            for email, call in marked:
                # Before the message: after a crash in between, the email is held, and not mistaken for lost.
                self._sender.note_publication(email.id)
                unsent.remove(email.id)
                self._send_recorded(email, call)
        except MailctlError as error:
            self._runtime.claims.return_unstarted(unsent, reason=str(error))
            raise
        return len(marked)

    def _send_taken(self, email: Email) -> None:
        """Publish an email of a campaign for a task that the service itself defines."""
        try:
            call = self._call_for(email)
        except MailctlError:
            self._runtime.publications.return_unpublished(email.id)
            raise
        if call is not None:
            self._send_recorded(email, call)

    def _send_recorded(self, email: Email | Draft, call: _TaskCall) -> None:
        """Publish an email that is recorded as published; undo that if the broker refuses the message."""
        try:
            self._sender.send(**self._options(email, call))
        except BrokerRefused:
            self._runtime.publications.return_unpublished(email.id)
            raise

    @property
    def _own_tasks(self) -> frozenset[str]:
        """The names of the tasks that the service defines itself."""
        return overridden_tasks(self._app)

    def _is_for_own_task(self, call: _TaskCall) -> bool:
        return call.is_repeated or call.task in self._own_tasks

    def _reports_by_result(self, call: _TaskCall) -> bool:
        """Whether the worker that takes a call may report its outcome only in the Celery result."""
        return call.is_in_full or self._is_for_own_task(call)

    def _options(self, email: Email | Draft, call: _TaskCall) -> dict[str, Any]:
        """Return the arguments of the sender for an email."""
        return {
            "task": call.task,
            "queue": email.queue,
            "task_id": email.id,
            "args": call.args,
            "kwargs": call.kwargs,
            # Tasks of mailctl write to the log.
            "headers": {**call.headers, "ignore_result": not self._reports_by_result(call)},
            **_REDACTED_REPRESENTATIONS,
        }

    def _postpone(self, email: Email | Draft, error: MailctlError) -> None:
        until = self._runtime.clock() + timedelta(seconds=CONFIG_RETRY_SECONDS)
        self._runtime.publications.postpone(email.id, until=until, reason=str(error))

    def _repeated_call(self, email: Email | Draft, content: Content, *, task: str) -> _TaskCall | None:
        """Return the recorded call of a service's own task; None if the email must not be sent."""
        address, policy = content.user.email, self._runtime.recipient_policy
        reason = policy.refusal_reason(address) if address else ""
        if not reason and address and policy.resolve_destination(address, subject="").to != address:
            reason = "MAILCTL_REDIRECT_TO cannot redirect an email of the service's own task"
        if reason:
            self._runtime.publications.suppress(email.id, reason=reason)
            return None
        args, kwargs = recorded_arguments(content)
        return _TaskCall(task=task, args=args, kwargs=kwargs, is_repeated=True)

    def _full_call(self, email: Email | Draft, kind: Kind) -> _TaskCall | None:
        """Return the call with the whole email in its arguments; None if the email must not be sent."""
        content = self._runtime.outbox.content(email.id)
        if content is None:
            return None
        content = validated_content(kind, content, self._runtime.argument_rules)
        if content.template is not None:
            kind = GENERIC  # only its task takes a template
        now = self._runtime.clock()
        urls = self._runtime.links.make_urls(kind, content, now=now)
        if kind.full_task != kind.task:
            composer = self._runtime.composer
            content = composer.as_generic(kind, content, urls=urls, created_at=email.created_at, now=now)
            kind = GENERIC
        addressed = self._runtime.recipient_policy.resolve_destination(
            content.user.email, subject=content.subject or ""
        )
        # The receiver may not know the recipient policy of this environment.
        if reason := self._runtime.recipient_policy.refusal_reason(addressed.to):
            self._runtime.publications.suppress(email.id, reason=reason)
            return None
        user = replace(content.user, email=addressed.to)
        content = replace(content, user=user, subject=addressed.subject or None)
        named = {SENDER_HEADER: content.sender, TENANT_HEADER: content.tenant}
        headers = {name: value for name, value in named.items() if value}
        return _TaskCall(
            task=kind.task,
            kwargs=to_arguments(kind, content, urls=urls),
            headers=headers,
            # No other worker gets a message that is in the memory of this process.
            is_in_full=not self._is_in_memory,
        )

    def _is_sent_in_full(self, email: Email | Draft, kind: Kind) -> bool:
        mode = self._runtime.settings.mailctl_messages
        if kind is CANARY:
            return False
        if kind.task in self._own_tasks or mode == "full":
            return True
        return mode == "auto" and email.queue not in self._workers.consumed_queues()


def _reference_call(email: Email | Draft, kind: Kind) -> _TaskCall:
    return _TaskCall(task=kind.task, kwargs={REFERENCE_ARGUMENT: email.id})
