"""The webhooks of email providers: verified, read, and recorded before they are answered."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from anyio import fail_after
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from mailctl import runtime
from mailctl.errors import LogMissing, MailctlError, NotFound, ServiceUnavailable
from mailctl.feedback import FeedbackResult
from mailctl.feedback.providers.webhook import (
    ParsedWebhook,
    RefusalReason,
    UnsignedProvider,
    WebhookProvider,
    WebhookRefused,
    WebhookRequest,
)
from mailctl.feedback.rejections import RejectionCounter, rejections_of
from mailctl.feedback.webhooks import webhooks_from_settings
from mailctl.process.per_process import PerProcess
from mailctl.web.problem import AccessDenied, problem_response, without_details
from mailctl.web.report_batches import PerLoopBatches
from mailctl.web.routing import ApiRoute, answer

_log = logging.getLogger("mailctl.feedback")
WEBHOOK_PATH = "/webhooks/{provider}"

#: When a provider may try again while the delivery log cannot be written, in seconds.
_RETRY_SECONDS = 60
#: How long the body of a request may take: whoever sends it slowly would hold a connection for nothing.
_BODY_SECONDS = 30.0
#: Octets of a body that is parsed in less time than a call in another thread takes to begin.
_MAX_QUICK_BYTES = 16_384
_STATUS = {RefusalReason.OVERSIZED: 413, RefusalReason.MALFORMED: 400, RefusalReason.INCOMPLETE: 408}
_RESULTS = {
    RefusalReason.FORGED: FeedbackResult.FORGED,
    RefusalReason.NOT_ENCRYPTED: FeedbackResult.FORGED,
    RefusalReason.STALE: FeedbackResult.STALE,
    RefusalReason.OVERSIZED: FeedbackResult.OVERSIZED,
    RefusalReason.MALFORMED: FeedbackResult.MALFORMED,
    RefusalReason.INCOMPLETE: FeedbackResult.MALFORMED,
}


@dataclass(frozen=True, kw_only=True)
class _Webhooks:
    """The webhooks of one process, as its settings have switched them on."""

    runtime: runtime.Runtime
    providers: Mapping[str, WebhookProvider]
    rejections: RejectionCounter
    batches: PerLoopBatches

    def find(self, name: str) -> WebhookProvider:
        if (provider := self.providers.get(name)) is None:
            raise NotFound("There is no such webhook here.", fix="See MAILCTL_WEBHOOK_SECRETS.")
        return provider


_webhooks = PerProcess[_Webhooks]()


def webhook_router() -> APIRouter:
    """Return the routes for the webhooks: POST /webhooks/PROVIDER."""
    router = APIRouter(route_class=ApiRoute, include_in_schema=False)
    router.post(WEBHOOK_PATH, name="mailctl:webhook")(_receive_webhook)
    return router


async def answer_webhook(request: Request) -> Response:
    """Answer a request to WEBHOOK_PATH as its route does, without the overhead of FastAPI."""
    return await answer(request, _receive_webhook, problem_response)


async def _receive_webhook(request: Request) -> Response:
    """Record what a provider reports about emails."""
    try:
        webhooks = await _webhooks_of_process()
    except (ServiceUnavailable, LogMissing) as error:
        return _unavailable_response(error)
    receiver = webhooks.find(request.path_params["provider"])
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        body = await _read_body(request, longest=receiver.max_body_bytes)
        given = WebhookRequest(
            headers=headers,
            body=body,
            is_encrypted=request.url.scheme == "https",
            received_at=datetime.now(UTC),
        )
        return await _record(webhooks, receiver, given)
    except WebhookRefused as refused:
        result = _RESULTS[refused.reason]
        await run_in_threadpool(webhooks.rejections.add, receiver.name, result)
        return _refusal_response(receiver, refused)


async def _webhooks_of_process() -> _Webhooks:
    """Return the webhooks of this process; the first call opens its delivery log.

    Raises:
        ConfigurationError: MAILCTL_WEBHOOK_SECRETS, or another setting, is not usable.
        LogMissing: there is no delivery log.
        LogUnavailable: the delivery log cannot be reached.
    """
    return _find_webhooks() if runtime.is_open() else await run_in_threadpool(_find_webhooks)


def _find_webhooks() -> _Webhooks:
    parts = runtime.current()
    return _webhooks.get(partial(_make_webhooks, parts), is_usable=lambda each: each.runtime is parts)


def _make_webhooks(parts: runtime.Runtime) -> _Webhooks:
    return _Webhooks(
        runtime=parts,
        providers=webhooks_from_settings(parts.settings),
        rejections=rejections_of(parts),
        batches=PerLoopBatches(parts),
    )


async def _record(webhooks: _Webhooks, receiver: WebhookProvider, request: WebhookRequest) -> Response:
    """Verify a request, and record what it reports; what cannot be matched is answered like the rest."""
    try:
        parsed = await _receive(receiver, request)
        if parsed.malformed and not parsed.reports:
            raise WebhookRefused(RefusalReason.MALFORMED)
        if parsed.malformed:
            count = webhooks.rejections.add
            await run_in_threadpool(count, receiver.name, FeedbackResult.MALFORMED, parsed.malformed)
        if parsed.reports:
            await webhooks.batches.record(parsed.reports)
    except (ServiceUnavailable, LogMissing) as error:
        return _unavailable_response(error)
    except MailctlError:
        raise
    except Exception as error:
        # A request that fails here would fail each time that the provider repeats it.
        _log.error("a request from %s could not be read: %s", receiver.name, type(error).__name__)
        raise WebhookRefused(RefusalReason.MALFORMED) from None
    return JSONResponse({"status": "ok"})


async def _receive(receiver: WebhookProvider, request: WebhookRequest) -> ParsedWebhook:
    """Verify and read a request; in a thread where that would hold up other requests."""
    if receiver.uses_network or len(request.body) > _MAX_QUICK_BYTES:
        return await run_in_threadpool(receiver.receive, request)
    return receiver.receive(request)


def _unavailable_response(error: MailctlError) -> Response:
    response = problem_response(without_details(error))
    response.headers["Retry-After"] = str(_RETRY_SECONDS)
    return response


def _refusal_response(receiver: WebhookProvider, refused: WebhookRefused) -> Response:
    asks_for_secret = refused.reason is RefusalReason.FORGED and isinstance(receiver, UnsignedProvider)
    status = 401 if asks_for_secret else _STATUS.get(refused.reason, 403)
    response = problem_response(AccessDenied(status, refused.message))
    if asks_for_secret:
        response.headers["WWW-Authenticate"] = 'Basic realm="mailctl"'
    return response


async def _read_body(request: Request, *, longest: int) -> bytes:
    """Return the body of a request.

    Raises:
        WebhookRefused: it is too large, or does not arrive; no more of it is read.
    """
    body = bytearray()
    try:
        with fail_after(_BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > longest:
                    raise WebhookRefused(RefusalReason.OVERSIZED)
    except (TimeoutError, ClientDisconnect):
        raise WebhookRefused(RefusalReason.INCOMPLETE) from None
    return bytes(body)
