"""The steps that every caller shares: make the content of emails, record them, put them on the broker."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from mailctl import tracing
from mailctl.delivery_log.outbox import NewEmails
from mailctl.domain.catalog import BUILT_IN_KINDS, GENERIC, effective_kind
from mailctl.domain.factory import make_content, make_drafts, sent_by
from mailctl.domain.link_expiry import refuse_expiring_links
from mailctl.domain.senders import validate_tenant
from mailctl.domain.template_context import validate_variables
from mailctl.enqueue.live_workers import publish_at_once
from mailctl.errors import InvalidInput, LinkNotAllowed, RenderError
from mailctl.rendering.message_settings import message_settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from mailctl.delivery_log.outbox import RecordResult
    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Content, Draft, Email, Json, User
    from mailctl.domain.request import EmailRequest
    from mailctl.domain.senders import Senders
    from mailctl.enqueue.publisher import Publisher
    from mailctl.runtime import Runtime

#: Seconds that a relay leaves a new email to the process that recorded it and publishes it itself.
GRACE_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class EnqueueResult:
    """The emails that one request recorded."""

    #: The ids of the emails; after a repeated idempotency key only the first id of the earlier request.
    ids: tuple[str, ...]
    #: The emails that may be published as soon as the transaction is committed.
    publishable: tuple[Draft, ...] = field(default=(), repr=False)

    @property
    def ids_to_check(self) -> tuple[str, ...]:
        """The ids of the other emails: only the delivery log can say whether they may be published."""
        publishable = {draft.id for draft in self.publishable}
        return tuple(email_id for email_id in self.ids if email_id not in publishable)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """The emails of one request while they are being recorded."""

    new: NewEmails
    span: tracing.Span = field(repr=False)

    def end(self, recorded: RecordResult) -> EnqueueResult:
        """Return the result of the request, once its emails are recorded."""
        drafts = self.new.drafts
        self.span.set_attributes(email_id=recorded.id, kind=drafts[0].kind)
        is_new = recorded.id == drafts[0].id
        ids = tuple(draft.id for draft in drafts) if is_new else (recorded.id,)
        return EnqueueResult(ids=ids, publishable=recorded.publishable)


class Enqueuer:
    """Records emails and publishes them if a worker can receive what this process publishes.

    Args:
        runtime: the parts of this process.
        head_start_seconds: how long to wait between publishing emails and recording that they are published,
            so that workers and this process do not compete for the delivery log.
        prefers_relays: whether the relays of workers publish the emails if they do so as soon as this process
            would; a short command then need not import Celery, which takes most of its time.
    """

    def __init__(
        self, runtime: Runtime, *, head_start_seconds: float = 0.0, prefers_relays: bool = False
    ) -> None:
        self._runtime = runtime
        self._head_start_seconds = head_start_seconds
        self._prefers_relays = prefers_relays
        #: Whether emails of a queue are left to the relays.
        self._left_to_relays: dict[str, bool] = {}

    @cached_property
    def can_reach_worker(self) -> bool:
        """Whether a worker can receive what this process publishes; a memory broker serves one process."""
        # Settings decide first: importing Celery takes most of the time of a short command.
        return not self._runtime.settings.is_broker_private and self._publisher.can_reach_worker

    def leaves_to_relays(self, kind: Kind) -> bool:
        """Return whether relays publish new emails of a kind; this process always decides the same.

        They do where they carry only the id of an email in a message, as this process would.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        settings = self._runtime.settings
        if not self._prefers_relays or settings.mailctl_app or settings.mailctl_messages == "full":
            return False
        queue = self.queue_for(kind)
        if queue not in self._left_to_relays:
            workers, now = self._runtime.workers.list_alive(), self._runtime.clock()
            self._left_to_relays[queue] = publish_at_once(workers, queue=queue, now=now)
        return self._left_to_relays[queue]

    def is_own_task(self, kind: Kind) -> bool:
        """Return whether the app of the service defines the task of a kind, and so has its templates."""
        if not self._runtime.settings.mailctl_app:
            return False
        from mailctl.celery_app import overridden_tasks

        return kind.full_task in overridden_tasks(self._runtime.app)

    @property
    def asks_log_before_own_tasks(self) -> bool:
        """Whether workers ask the delivery log before they run the service's own tasks (`record_tasks`)."""
        if not self._runtime.settings.mailctl_app:
            return False
        from mailctl.celery_app import has_recorder

        return has_recorder(self._runtime.app)

    def with_recorded_kind(self, request: EmailRequest, template: str | None) -> EmailRequest:
        """Return a request with the kind that its emails are recorded as; limits and pauses apply to it.

        It is the kind of the template, unless a task of the service sends the email with its own templates.

        Args:
            template: the template that the emails name; None if they name none.
        """
        kind = effective_kind(request.kind, template)
        if kind is request.kind or self.is_own_task(request.kind):
            return request
        return replace(request, kind=kind)

    def queue_for(self, kind: Kind) -> str:
        """Return the queue of a kind: its own, or the one to which the app of the service routes its task."""
        if kind.queue:
            return kind.queue
        if not self._runtime.settings.mailctl_app:
            return self._runtime.settings.celery_queue_default
        from mailctl.celery_app import queue_for_task

        return queue_for_task(self._runtime.app, kind.full_task)

    def make_content(
        self, request: EmailRequest, user: User, *, variables: Mapping[str, Json] | None = None
    ) -> Content:
        """Return the validated content of the email to one user.

        Args:
            variables: template variables of this user, which override those of the request.

        Raises:
            InvalidInput: a value is missing or not usable, or a link expires too early to be sent.
            ConfigurationError: the custom kinds are needed and cannot be loaded, or a link of an email that
                is not generic leads elsewhere while FRONTEND_URL cannot be right.
        """
        self._check_sender(request)
        context = {**request.context, **variables} if variables else request.context
        try:
            content = make_content(
                request.kind,
                user,
                origins=self._runtime.link_origins,
                tokens=request.tokens,
                context=context,
                subject=request.subject,
                template=request.template,
                catalog=self._runtime.catalog,
                keeps_template=request.template is not None and self.is_own_task(request.kind),
            )
        except LinkNotAllowed as error:
            return self._content_for_later(request, user, context, error)
        if content.tokens or content.urls:
            now = self._runtime.clock()
            refuse_expiring_links(
                effective_kind(request.kind, content.template),
                content,
                given_at=now,
                sent_at=request.earliest_start(now),
                are_sealed=self._runtime.settings.seals_link_tokens,
            )
        return sent_by(content, request)

    def _check_sender(self, request: EmailRequest) -> None:
        """Refuse a sender that is not in the allow-list, or that a task of the service would not have."""
        if request.tenant is not None:
            validate_tenant(request.tenant)
        if request.sender is None:
            return
        self._senders.check(request.sender)
        if self.is_own_task(request.kind):
            raise InvalidInput(
                "sender",
                f"cannot be chosen: the service's own task {request.kind.full_task} sends the email.",
                fix="Leave it out.",
            )

    def _content_for_later(
        self, request: EmailRequest, user: User, context: Mapping[str, Json], error: LinkNotAllowed
    ) -> Content:
        """Return a content whose links are validated when it is sent, because FRONTEND_URL cannot be right.

        Raises:
            LinkNotAllowed: the given error, if FRONTEND_URL can be right.
            ConfigurationError: only generic emails can wait like this.
        """
        rules = self._runtime.argument_rules
        if not rules.links_problem:
            raise error
        if request.kind is not GENERIC or self.is_own_task(request.kind):
            raise rules.unusable_links() from None
        from mailctl.broker.unvalidated import unvalidated_content  # imports kombu

        recipient = {"email": user.email, "name": user.first_name}
        arguments = {
            "subject": request.subject,
            "recipients": [recipient],
            "template_name": request.template,
            "context": validate_variables(context),
        }
        return unvalidated_content(GENERIC, arguments)

    def refuse_unrenderable(self, request: EmailRequest, contents: Sequence[Content]) -> None:
        """Refuse a request whose template is missing, broken or lacks a variable.

        Templates of mailctl itself, and of tasks of the service, are not rendered here.

        Raises:
            InvalidInput: the template of an email cannot be rendered.
        """
        kind, at = request.kind, request.earliest_start(self._runtime.clock())
        has_packaged_template = kind.template is not None and kind.name in BUILT_IN_KINDS
        if has_packaged_template or self.is_own_task(kind):
            return

        async def preview_all() -> None:
            for content in contents:
                if content.unvalidated:
                    continue
                await self._runtime.composer.preview(kind, content, at=at)

        try:
            asyncio.run(preview_all())
        except RenderError as error:
            what = error.message
            what = f"{what[:1].lower()}{what[1:]}" if what.startswith("There ") else what
            raise InvalidInput("template", f"cannot be used: {what}", fix=error.fix) from error

    def record(
        self,
        request: EmailRequest,
        contents: Sequence[Content],
        *,
        connection: Connection | None = None,
        durable: bool = True,
        first_id: str | None = None,
    ) -> EnqueueResult:
        """Record the emails of one request, one per content.

        Args:
            connection: an open transaction of the caller on the database of the delivery log; None commits
                the emails at once.
            durable: whether the emails are on disk when this returns; if not, `Outbox.flush` writes them.
            first_id: the id of the first email; None generates one.

        Raises:
            InvalidInput: the idempotency key is not usable.
            IdempotencyConflict: the idempotency key was used for different content.
            LogUnavailable: the delivery log cannot be written.
        """
        outbox = self._runtime.outbox
        with self.recording(request, contents, first_id=first_id) as recording:
            new = recording.new
            if connection is None:
                recorded = outbox.add(new.drafts, due_at=new.due_at, durable=durable)
            else:
                recorded = outbox.add_in_transaction(connection, new.drafts, due_at=new.due_at)
            return recording.end(recorded)

    @contextmanager
    def recording(
        self, request: EmailRequest, contents: Sequence[Content], *, first_id: str | None = None
    ) -> Iterator[Recording]:
        """Make the emails of one request, which the caller records in the block; see `record`."""
        with tracing.span("mailctl.record") as span:
            now, trace = self._runtime.clock(), tracing.inject_trace_context()
            drafts = make_drafts(
                self.with_recorded_kind(request, contents[0].template),
                [replace(content, trace=trace) for content in contents] if trace else contents,
                queue=self.queue_for(request.kind),
                now=now,
                first_id=first_id,
                seals_tokens=self._runtime.settings.seals_link_tokens,
            )
            is_published_here = not self.leaves_to_relays(request.kind) and self.can_reach_worker
            due_at = now + timedelta(seconds=GRACE_SECONDS) if is_published_here else now
            yield Recording(new=NewEmails(drafts=drafts, due_at=due_at), span=span)

    def publish(self, ids: Sequence[str], *, publishable: Sequence[Draft] = ()) -> bool:
        """Put recorded emails on the broker; relays publish those that have to wait.

        Returns:
            Whether any that may be published were left to the relays, because many wait.

        Args:
            ids: the emails that are published only if the delivery log allows it.
            publishable: the emails that are published in any case.

        Raises:
            BrokerUnavailable: the broker does not answer; a relay publishes the emails when it does.
            LogUnavailable: the delivery log cannot be used.
        """
        if not self.can_reach_worker:
            self._runtime.publications.wake_relays()
            return False
        allowed = self._runtime.history.publishable(ids, now=self._runtime.clock()) if ids else []
        emails: list[Email | Draft] = [*publishable, *allowed]
        return self._publisher.publish_all(emails, head_start_seconds=self._head_start_seconds) < len(emails)

    @cached_property
    def _senders(self) -> Senders:
        return message_settings_of(self._runtime.settings).senders

    @cached_property
    def _publisher(self) -> Publisher:
        from mailctl.enqueue.publisher import Publisher

        publisher = Publisher(self._runtime)
        self._runtime.on_close(publisher.close)
        return publisher
