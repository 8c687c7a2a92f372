"""Sending a canary: a test email that passes broker and worker, up to the mail server's reply to RCPT."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
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
    from datetime import timedelta

    from mailctl.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class CanaryStep:
    """The result of one step of a canary."""

    name: str
    ok: bool
    detail: str
    seconds: float


def send_canary(runtime: Runtime, *, queue: str, to: str | None, timeout: float) -> list[CanaryStep]:
    """Send a canary to a queue; return its steps up to RCPT, of which the last one may have failed.

    Args:
        queue: the name of the queue.
        to: the address to give in RCPT; None means the sender's own address.
        timeout: how long to wait for a worker, in seconds.

    Raises:
        BrokerUnavailable: the broker or the result backend does not answer.
        ConfigurationError: the app has no result backend, so no answer can come back.
        InvalidInput: `to` is not an email address.
        LogUnavailable: the delivery log cannot be used.
        StillPending: no worker answered in time.
    """
    recipient = None if to is None else make_user(email=to).email
    # No other process can reach a memory broker or read a memory result backend.
    if has_memory_broker(runtime.app) or has_private_results(runtime.app):
        return _through_log(runtime, queue=queue, to=recipient, timeout=timeout)
    return _through_broker(runtime, queue=queue, to=recipient, timeout=timeout)


def _through_broker(runtime: Runtime, *, queue: str, to: str | None, timeout: float) -> list[CanaryStep]:
    broker, canary_id, started = BrokerInspector(runtime.app), str(uuid.uuid4()), time.monotonic()
    if broker.ping_backend() is None:
        raise ConfigurationError(
            "The app has no result backend, so no worker can answer a canary.",
            fix="Set CELERY_RESULT_BACKEND.",
        )
    publisher = Publisher(runtime)
    runtime.on_close(publisher.close)
    sealed = None
    if to is not None:
        sealed = runtime.keyring.seal_text(to.encode(), purpose=CANARY_PURPOSE, bound_to=[canary_id])
    publishing_since = time.monotonic()
    publisher.publish_canary(canary_id, queue=queue, to=sealed, expires_seconds=timeout)
    published = time.monotonic()
    answer = _poll(lambda: broker.successful_result(canary_id), queue=queue, until=started + timeout)
    steps = [CanaryStep(**step) for step in answer["steps"]]
    round_trip = time.monotonic() - published - sum(step.seconds for step in steps)
    taken = f"{answer['worker']} took the canary from queue {queue!r} and answered"
    return [
        CanaryStep(
            name="publish", ok=True, detail="the broker accepted it", seconds=published - publishing_since
        ),
        CanaryStep(name="worker", ok=True, detail=taken, seconds=max(0.0, round_trip)),
        *steps,
    ]


def _through_log(runtime: Runtime, *, queue: str, to: str | None, timeout: float) -> list[CanaryStep]:
    """Send the canary by a worker's relay, and read the answer from the delivery log."""
    now, until = runtime.clock(), time.monotonic() + timeout
    content = Content(user=make_user(email=to or runtime.settings.email_from_address))
    [draft] = make_drafts(EmailRequest(kind=CANARY), [content], queue=queue, now=now)
    canary_id = runtime.outbox.add([draft], due_at=now).id

    def finished_email() -> Any:
        found = runtime.history.find(canary_id, limit=1)
        return found[0] if found and found[0].is_final else None

    try:
        email = _poll(finished_email, queue=queue, until=until)
        steps = runtime.history.canary_report(canary_id)
        times = {str(event.state): event.at for event in runtime.history.events(canary_id)}
    finally:
        runtime.outbox.delete_canary(canary_id)
    published, claimed = times.get("queued", now), times.get("sending", now)
    relayed = "a worker's relay published it"
    taken = f"{email.worker} took the canary from queue {queue!r}"
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
                fix="Check that a worker with mailctl's tasks is alive and not busy: mailctl check-config",
            )
        time.sleep(wait)
        wait = min(MAX_POLL_SECONDS, wait * 1.5)
    return answer


def _seconds(span: timedelta) -> float:
    return max(0.0, span.total_seconds())
