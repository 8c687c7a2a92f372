"""A publisher with a broker in memory, and a log that keeps what it is told."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from queue import Empty
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from mailctl.domain.catalog import WELCOME, Kind
from mailctl.domain.factory import make_drafts
from mailctl.domain.models import Content, User
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.publisher import Publisher

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from mailctl.domain.models import Draft
    from mailctl.runtime import Runtime


ZOE = User(email="zoe@example.com", id="7", username="zoe")


@dataclass
class Outbox:
    """An outbox that has the content of emails."""

    stored: dict[str, Content | None] = field(default_factory=dict)

    def content(self, email_id: str) -> Content | None:
        """Return the content of an email."""
        return self.stored[email_id]


@dataclass
class Publications:
    """Publications that note every call."""

    queued: list[str] = field(default_factory=list)
    queued_for_own_tasks: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    postponed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    suppressed: list[str] = field(default_factory=list)
    grouped: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def leave_to_relays(self, ids: Collection[str]) -> None:
        """Note which emails are left to relays."""
        self.left += ids

    def mark_queued(
        self,
        ids: Collection[str],
        *,
        worker_id: str | None,
        is_own_task: bool = False,
        is_grouped: bool = False,
    ) -> int:
        """Note which emails are published."""
        noted = self.queued_for_own_tasks if is_own_task else self.grouped if is_grouped else self.queued
        new = [email_id for email_id in ids if email_id not in noted]
        noted += new
        return len(new)

    def return_unpublished(self, email_id: str) -> None:
        """Note which emails the broker refused."""
        self.returned.append(email_id)

    def postpone(self, email_id: str, *, until: datetime, reason: str) -> None:
        """Note which emails are postponed."""
        self.postponed.append(email_id)

    def fail(self, email_id: str, *, reason: str) -> None:
        """Note which emails failed."""
        self.failed.append(email_id)

    def suppress(self, email_id: str, *, reason: str) -> None:
        """Note which emails are suppressed."""
        self.suppressed.append(email_id)


class Site:
    """A publisher in a worker with a broker in memory, and the queue that it publishes to."""

    def __init__(self, runtime: Runtime, *, has_worker: bool = True) -> None:
        self.runtime, self.outbox, self.publications = runtime, Outbox(), Publications()
        self.queue = f"celery-{uuid.uuid4().hex}"
        runtime.outbox = self.outbox  # type: ignore[assignment]
        runtime.publications = self.publications  # type: ignore[assignment]
        self.worker = SimpleNamespace(id="w1", queues=(self.queue,))
        workers = [self.worker] if has_worker else []
        runtime.workers.list_alive = lambda: workers  # type: ignore[assignment, method-assign, return-value]
        self.publisher = Publisher(runtime, worker_id="w1")

    def draft(self, kind: Kind = WELCOME, *, context: dict[str, Any] | None = None) -> Draft:
        """Return a draft whose content is in the outbox."""
        content = Content(user=ZOE, context=context or {})
        now = datetime.now(UTC)
        [draft] = make_drafts(EmailRequest(kind=kind), [content], queue=self.queue, now=now)
        self.outbox.stored[draft.id] = content
        return draft

    def messages(self, queue: str = "") -> Iterator[tuple[dict[str, Any], Any, dict[str, Any]]]:
        """Consume all messages; yield their headers, arguments and keyword arguments."""
        with self.runtime.app.connection_for_read() as connection:
            found = connection.SimpleQueue(queue or self.queue, no_ack=True)
            while True:
                try:
                    message = found.get_nowait()
                except Empty:
                    return
                args, kwargs, _ = message.payload
                yield message.headers, args, kwargs

    def close(self) -> None:
        """Close the connection."""
        self.publisher.close()


class BrokenProducer:
    """A producer that publishes some messages and then loses the connection."""

    def __init__(self, producer: Any) -> None:
        self._producer, self._left = producer, 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def publish(self, *args: Any, **options: Any) -> Any:
        """Publish while messages are left, then raise."""
        if not self._left:
            raise ConnectionResetError("gone")
        self._left -= 1
        return self._producer.publish(*args, **options)


class FailingProducer(BrokenProducer):
    """A producer that raises a given error at once."""

    def __init__(self, producer: Any, error: Exception) -> None:
        super().__init__(producer)
        self._error = error

    def publish(self, *args: Any, **options: Any) -> Any:
        """Raise."""
        raise self._error
