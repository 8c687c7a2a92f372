"""The canary responder: runs each step of sending an email, up to RCPT, and reports how each step went."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from mailctl.domain.address_validation import validate_address
from mailctl.domain.catalog import CANARY
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.routing import RoutedEmail
from mailctl.domain.states import State
from mailctl.errors import ConfigurationError, InvalidInput, MailctlError
from mailctl.smtp.probe import REPLY_SECONDS, ProbeStep, probe_recipient

if TYPE_CHECKING:
    from mailctl.domain.models import Json
    from mailctl.runtime import Runtime

#: The purpose for which the recipient is encrypted while the canary is on the broker.
CANARY_PURPOSE = "canary"


def respond_to_canary(runtime: Runtime, canary_id: str, encrypted_recipient: Json) -> list[Json]:
    """Return the report of each step, for a canary without a row in the delivery log.

    Args:
        runtime: the parts of this process.
        canary_id: the id of the canary, which is that of its task.
        encrypted_recipient: the encrypted address; None for the address of the sender.
    """
    started = time.monotonic()
    try:
        runtime.workers.list_alive()
        recipient = _decrypt_recipient(runtime, canary_id, encrypted_recipient)
    except MailctlError as error:
        return [_step("worker-log", ok=False, detail=str(error), since=started)]
    log_step = _step("worker-log", ok=True, detail="the delivery log of this worker answers", since=started)
    return [log_step, *_probe_server(runtime, canary_id, recipient)]


def respond_to_logged_canary(runtime: Runtime, email_id: str, *, worker: str) -> str:
    """Run each step for a canary that is a row of the delivery log, and record the report there.

    Args:
        runtime: the parts of this process.
        email_id: the id of the canary.
        worker: the node name of this worker.

    Returns:
        The state of the canary, or "nothing to do".

    Raises:
        LogUnavailable: the delivery log does not answer.
    """
    claimed = runtime.claims.claim([email_id], worker=worker, are_canaries=True)
    if not claimed.claims:
        return "nothing to do"
    [claim] = claimed.claims
    steps = _probe_server(runtime, email_id, claim.content.user.email)
    failed = next((step for step in steps if not step["ok"]), None)
    state = State.FAILED if failed else State.SENT
    text = f"{failed['name']}: {failed['detail']}" if failed else ""
    reason = Reason(code=ReasonCode.CANARY_FAILED, text=text) if failed else None
    runtime.attempt_results.finish(claim, state, reason=reason, canary_report=steps)
    return str(state)


def _probe_server(runtime: Runtime, canary_id: str, recipient: str) -> list[Json]:
    settings = runtime.settings
    if not settings.email_enabled:
        detail = "skipped: EMAIL_ENABLED=False, emails are captured"
        return [_as_json(ProbeStep(name="smtp", ok=True, detail=detail, seconds=0.0))]
    servers = runtime.mail_servers
    facts = RoutedEmail(kind=CANARY.name, queue=settings.celery_queue_default, recipient=recipient)
    server = servers.smtp_server(servers.routing.order_for(facts)[0])
    server = replace(server, timeout_seconds=min(server.timeout_seconds, REPLY_SECONDS))
    sender = runtime.composer.envelope_sender(canary_id, kind=CANARY.name)
    steps = asyncio.run(probe_recipient(server, sender=sender, recipient=recipient))
    return [_as_json(step) for step in steps]


def _decrypt_recipient(runtime: Runtime, canary_id: str, encrypted_recipient: Json) -> str:
    if encrypted_recipient is None:
        return runtime.settings.email_from_address
    if not isinstance(encrypted_recipient, str):
        raise InvalidInput("to", "is not a string.")
    plain = runtime.keyring.open_text(encrypted_recipient, purpose=CANARY_PURPOSE, bound_to=[canary_id])
    if plain is None:
        raise ConfigurationError(
            "The SECRET_KEY or the version of mailctl of this worker differs from that of the sender.",
            fix="Give all hosts the same SECRET_KEY and version.",
        )
    return validate_address(plain.decode())


def _step(name: str, *, ok: bool, detail: str, since: float) -> Json:
    return _as_json(ProbeStep(name=name, ok=ok, detail=detail, seconds=time.monotonic() - since))


def _as_json(step: ProbeStep) -> Json:
    return {"name": step.name, "ok": step.ok, "detail": step.detail, "seconds": step.seconds}
