"""What a worker does with a canary: goes as far as an email would, up to RCPT, and tells of each step."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from mailctl.deadlines import DEADLINE_SECONDS
from mailctl.domain import validation
from mailctl.domain.models import State
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.errors import ConfigurationError, InvalidInput, MailctlError
from mailctl.smtp.probe import ProbeStep, probe_recipient
from mailctl.smtp.sender import smtp_server_from_settings

if TYPE_CHECKING:
    from mailctl.domain.models import Json
    from mailctl.runtime import Runtime

#: What the recipient of a canary is sealed for while it is on the broker.
CANARY_PURPOSE = "canary"


def respond_to_canary(runtime: Runtime, sealed_to: Json) -> list[Json]:
    """Return how each step went, for a canary that came without a row in the log.

    Args:
        sealed_to: the recipient; None takes the sender's own address.
    """
    started = time.monotonic()
    try:
        runtime.workers.list_alive()
        recipient = _unseal_recipient(runtime, sealed_to)
    except MailctlError as error:
        return [_step("worker-log", ok=False, detail=str(error), since=started)]
    found = _step("worker-log", ok=True, detail="this worker's delivery log answers", since=started)
    return [found, *_probe_server(runtime, recipient)]


def respond_to_logged_canary(runtime: Runtime, email_id: str, *, worker: str) -> str:
    """Rehearse a canary that is a row of the log, and record there how each step went.

    Returns:
        What became of it.

    Raises:
        LogUnavailable: the delivery log cannot be used.
    """
    taken = runtime.claims.claim([email_id], worker=worker, are_canaries=True)
    if not taken.claims:
        return "nothing to do"
    [claim] = taken.claims
    steps = _probe_server(runtime, claim.content.user.email)
    failed = next((step for step in steps if not step["ok"]), None)
    state = State.FAILED if failed else State.SENT
    text = f"{failed['name']}: {failed['detail']}" if failed else ""
    reason = Reason(code=ReasonCode.CANARY_FAILED, text=text) if failed else None
    runtime.attempt_results.finish(claim, state, reason=reason, canary_report=steps)
    return str(state)


def _probe_server(runtime: Runtime, recipient: str) -> list[Json]:
    settings = runtime.settings
    if not settings.email_enabled:
        skipped = "skipped: EMAIL_ENABLED=False, emails are captured"
        return [asdict(ProbeStep(name="smtp", ok=True, detail=skipped, seconds=0.0))]
    server = smtp_server_from_settings(settings)
    server = replace(server, timeout_seconds=min(server.timeout_seconds, DEADLINE_SECONDS))
    steps = asyncio.run(probe_recipient(server, sender=settings.email_from_address, recipient=recipient))
    return [asdict(step) for step in steps]


def _unseal_recipient(runtime: Runtime, sealed_to: Json) -> str:
    if sealed_to is None:
        return runtime.settings.email_from_address
    if not isinstance(sealed_to, str):
        raise InvalidInput("to", "is not a text.")
    plain = runtime.keyring.open_text(sealed_to, purpose=CANARY_PURPOSE)
    if plain is None:
        raise ConfigurationError(
            "This worker has another SECRET_KEY than who asked.", fix="Give all hosts the same SECRET_KEY."
        )
    return validation.validate_address(plain.decode())


def _step(name: str, *, ok: bool, detail: str, since: float) -> Json:
    return asdict(ProbeStep(name=name, ok=ok, detail=detail, seconds=time.monotonic() - since))
