"""Recording emails and handing them to the broker: what the service and the command line have in common."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from mailctl import tracing
from mailctl.domain.catalog import BUILT_IN_KINDS, effective_kind
from mailctl.domain.factory import make_drafts
from mailctl.errors import InvalidInput, RenderError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Content, Draft
    from mailctl.enqueue.publisher import Publisher
    from mailctl.runtime import Runtime

#: Seconds that a relay leaves a new email to the process that recorded it and publishes it itself.
GRACE_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class EnqueueResult:
    """What was recorded of one call."""

    #: Of its emails; only that of an earlier call if the idempotency key was used before.
    ids: tuple[str, ...]
    #: Those that nothing keeps from being published, once the transaction is committed.
    publishable: tuple[Draft, ...] = field(default=(), repr=False)

    @property
    def ids_to_check(self) -> tuple[str, ...]:
        """The ids of those of which the log has to be asked."""
        publishable = {draft.id for draft in self.publishable}
        return tuple(email_id for email_id in self.ids if email_id not in publishable)


class Enqueuer:
    """Records emails, and publishes them where a worker could get them.

    Args:
        runtime: the parts of this process.
        head_start_seconds: for how long a worker goes on with what is published before the log is told.
    """

    def __init__(self, runtime: Runtime, *, head_start_seconds: float = 0.0) -> None:
        self._runtime = runtime
        self._head_start_seconds = head_start_seconds

    @property
    def can_reach_worker(self) -> bool:
        """Whether publishing from this process makes sense; a memory broker is private to its process."""
        # Decided without Celery where possible: importing it is most of what a short command takes.
        return not self._runtime.settings.is_broker_private and self._publisher.can_reach_worker

    def is_own_task(self, kind: Kind) -> bool:
        """Whether the service's own app defines the kind's task itself, and so knows its templates."""
        if not self._runtime.settings.mailctl_app:
            return False
        from mailctl.celery_app import overridden_tasks

        return kind.full_task in overridden_tasks(self._runtime.app)

    def resolve_kind(self, kind: Kind, template: str | None) -> Kind:
        """Return the kind that an email is recorded as: limits, pauses and lists go by it.

        It is the kind of the template that the email names, unless a task of the service's own sends it: that
        task has templates of its own.
        """
        named = effective_kind(kind, template)
        return kind if named is kind or self.is_own_task(kind) else named

    def queue_for(self, kind: Kind) -> str:
        """Return the queue of a kind: its own, or by the routes of the service's own app, if it has one."""
        if kind.queue:
            return kind.queue
        if not self._runtime.settings.mailctl_app:
            return self._runtime.settings.celery_queue_default
        from mailctl.celery_app import queue_for_task

        return queue_for_task(self._runtime.app, kind.full_task)

    def refuse_unrenderable(self, kind: Kind, contents: Sequence[Content], *, at: datetime) -> None:
        """Refuse a template of the caller's or the service's that is missing, broken or lacks a variable.

        Raises:
            InvalidInput: it is; the templates of a task of the service's own are not known here.
        """
        has_packaged_template = kind.template is not None and kind.name in BUILT_IN_KINDS
        if has_packaged_template or self.is_own_task(kind):
            return

        async def preview_all() -> None:
            for content in contents:
                await self._runtime.composer.preview(kind, content, at=at)

        try:
            asyncio.run(preview_all())
        except RenderError as error:
            raise InvalidInput("template", str(error), fix=error.fix) from error

    def record(
        self,
        kind: Kind,
        contents: Sequence[Content],
        *,
        idempotency_key: str | None = None,
        not_before: datetime | None = None,
        forced_by: str | None = None,
        connection: Connection | None = None,
        durable: bool = True,
    ) -> EnqueueResult:
        """Record the emails of one call, one per content.

        Args:
            not_before: a time to wait for; None sends at once.
            forced_by: the operator who says that no rule keeps them back.
            connection: a transaction of the caller's on the log's database; None commits at once.
            durable: whether they are on disk when this returns; else `Outbox.flush` brings them there.

        Raises:
            InvalidInput: the key is not usable.
            IdempotencyConflict: the key was used for other content.
            LogUnavailable: the log cannot be written.
        """
        with tracing.span("mailctl.record") as span:
            now, trace = datetime.now(UTC), tracing.inject_trace_context()
            drafts = make_drafts(
                self.resolve_kind(kind, contents[0].template),
                [replace(content, trace=trace) for content in contents] if trace else contents,
                queue=self.queue_for(kind),
                now=now,
                not_before=not_before,
                idempotency_key=idempotency_key,
                forced_by=forced_by,
            )
            due_at = now + timedelta(seconds=GRACE_SECONDS) if self.can_reach_worker else now
            outbox = self._runtime.outbox
            if connection is None:
                entry = outbox.add(drafts, due_at=due_at, durable=durable)
            else:
                entry = outbox.add_in_transaction(connection, drafts, due_at=due_at)
            span.set_attributes(email_id=entry.id, kind=drafts[0].kind)
        is_new = entry.id == drafts[0].id
        return EnqueueResult(
            ids=tuple(each.id for each in drafts) if is_new else (entry.id,), publishable=entry.publishable
        )

    def publish(self, ids: Sequence[str], *, publishable: Sequence[Draft] = ()) -> None:
        """Put recorded emails on the broker that may go out now; the rest is a relay's to do.

        Args:
            ids: those of which the log is asked.
            publishable: those that nothing keeps back.

        Raises:
            BrokerUnavailable: the broker does not answer; a relay publishes them when it does.
            LogUnavailable: the log cannot be used.
        """
        if not self.can_reach_worker:
            return
        asked = self._runtime.history.publishable(ids, now=datetime.now(UTC)) if ids else []
        self._publisher.publish_all([*publishable, *asked], head_start_seconds=self._head_start_seconds)

    @cached_property
    def _publisher(self) -> Publisher:
        from mailctl.enqueue.publisher import Publisher

        publisher = Publisher(self._runtime)
        self._runtime.on_close(publisher.close)
        return publisher
