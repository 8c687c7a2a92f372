"""Sending a canary: through broker and worker to the mail server, and waiting for what it tells."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mailctl.broker.inspector import BrokerInspector
from mailctl.celery_app import has_memory_broker, has_private_results
from mailctl.diagnosis.status import INITIAL_POLL_SECONDS, MAX_POLL_SECONDS
from mailctl.domain.catalog import CANARY
from mailctl.domain.factory import make_drafts, make_user
from mailctl.domain.models import Content
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.publisher import Publisher
from mailctl.errors import ConfigurationError, StillPending
from mailctl.worker.canary_responder import CANARY_PURPOSE

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class CanaryStep:
    """One step of a canary's way."""

    name: str
    ok: bool
    detail: str
    seconds: float


def send_canary(runtime: Runtime, *, queue: str, to: str | None, timeout: float) -> list[CanaryStep]:
    """Send a canary to a queue, and return each step of its way up to RCPT; the last one may have failed.

    Args:
        to: whom the mail server is asked to take a message for; None means the sender's own address.
        timeout: seconds that the worker has.

    Raises:
        BrokerUnavailable: broker or result backend do not answer.
        ConfigurationError: the app keeps no results, so that no answer can come back.
        InvalidInput: `to` is no address.
        LogUnavailable: the delivery log cannot be used.
        StillPending: the worker did not answer in time.
    """
    recipient = None if to is None else make_user(email=to).email
    # A memory broker is reached by nobody else, nor is the answer in a memory backend.
    if has_memory_broker(runtime.app) or has_private_results(runtime.app):
        return _through_log(runtime, queue=queue, to=recipient, timeout=timeout)
    return _through_broker(runtime, queue=queue, to=recipient, timeout=timeout)


def _through_broker(runtime: Runtime, *, queue: str, to: str | None, timeout: float) -> list[CanaryStep]:
    broker, canary_id, started = BrokerInspector(runtime.app), str(uuid.uuid4()), time.monotonic()
    if broker.ping_backend() is None:
        raise ConfigurationError(
            "The app keeps no results, so that no worker can answer.", fix="Set CELERY_RESULT_BACKEND."
        )
    publisher = Publisher(runtime)
    runtime.on_close(publisher.close)
    sealed = None if to is None else runtime.keyring.seal_text(to.encode(), purpose=CANARY_PURPOSE)
    begun = time.monotonic()
    publisher.publish_canary(canary_id, queue=queue, to=sealed, expires_seconds=timeout)
    published = time.monotonic()
    answer = _poll(lambda: broker.successful_result(canary_id), queue=queue, until=started + timeout)
    steps = [CanaryStep(**step) for step in answer["steps"]]
    there_and_back = time.monotonic() - published - sum(step.seconds for step in steps)
    taken = f"{answer['worker']} took it from queue {queue!r} and answered"
    return [
        CanaryStep(name="publish", ok=True, detail="the broker took it", seconds=published - begun),
        CanaryStep(name="worker", ok=True, detail=taken, seconds=max(0.0, there_and_back)),
        *steps,
    ]


def _through_log(runtime: Runtime, *, queue: str, to: str | None, timeout: float) -> list[CanaryStep]:
    """Let the relay of a worker carry it, and the delivery log the answer."""
    now, until = datetime.now(UTC), time.monotonic() + timeout
    content = Content(user=make_user(email=to or runtime.settings.email_from_address))
    [draft] = make_drafts(EmailRequest(kind=CANARY), [content], queue=queue, now=now)
    canary_id = runtime.outbox.add([draft], due_at=now).id

    def ended() -> Any:
        found = runtime.history.find(canary_id, limit=1)
        return found[0] if found and found[0].is_final else None

    try:
        email = _poll(ended, queue=queue, until=until)
        steps = runtime.history.canary_report(canary_id)
        moments = {str(event.state): event.at for event in runtime.history.events(canary_id)}
    finally:
        runtime.outbox.delete_canary(canary_id)
    published, claimed = moments.get("queued", now), moments.get("sending", now)
    relayed = "the relay of a worker published it"
    taken = f"{email.worker} took it from queue {queue!r}"
    return [
        CanaryStep(name="publish", ok=True, detail=relayed, seconds=_seconds(published - now)),
        CanaryStep(name="worker", ok=True, detail=taken, seconds=_seconds(claimed - published)),
        *(CanaryStep(**step) for step in steps),
    ]


def _poll(question: Callable[[], Any], *, queue: str, until: float) -> Any:
    wait = INITIAL_POLL_SECONDS
    while (answer := question()) is None:
        if time.monotonic() + wait > until:
            raise StillPending(
                f"No worker on queue {queue!r} answered in time.",
                fix="Is one alive that has mailctl's tasks, and not busy? See `mailctl check-config`.",
            )
        time.sleep(wait)
        wait = min(MAX_POLL_SECONDS, wait * 1.5)
    return answer


def _seconds(span: timedelta) -> float:
    return max(0.0, span.total_seconds())
