"""Webhooks over real HTTP: from the request of a provider to the state of an email."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from threading import Event
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI

import mailctl
import mailctl.feedback
from mailctl import runtime
from mailctl.delivery_log.reports import FeedbackResult
from mailctl.domain.catalog import WELCOME
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.models import SentClaim
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.domain.webhook_secrets import PROVIDER_NAMES, UNSIGNED_PROVIDERS
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.feedback import listeners
from mailctl.settings import Settings
from mailctl.web import webhooks as routes
from mailctl.web.feedback import create_feedback_app
from tests import webhooks
from tests.web_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.domain.models import Email
    from mailctl.feedback.providers.webhook import WebhookRequest

#: The address and the id in the payloads, which stand for those of an email.
ADDRESS, PLACEHOLDER = "ada@customer.example", "2f1d6c1e-5d0c-4c9f-9a35-0d7a8b1c2d3e"
ACCEPTED = Outcome(kind=OutcomeKind.ACCEPTED, reply=SmtpReply(code=250, text="ok"), stage="body")
#: The certificate of Amazon SNS cannot be fetched here: the unit tests hand it in.
REACHABLE = [name for name in PROVIDER_NAMES if name != "ses"]
_numbers = count()


class Site:
    """A service with the router in its application, under a prefix, and its delivery log."""

    def __init__(self, address: str) -> None:
        self.address = address

    def post(self, provider: str, request: WebhookRequest, *, scheme: str = "https") -> httpx.Response:
        """Send a request as a proxy that ends TLS passes it on."""
        headers = {**request.headers, "x-forwarded-proto": scheme}
        url = f"{self.address}/mail/webhooks/{provider}"
        return httpx.post(url, content=request.body, headers=headers, timeout=60)


def counts(provider: str) -> dict[FeedbackResult, int]:
    """Return what was heard from a provider, by result."""
    return {
        each.result: each.count
        for each in runtime.current().feedback_counts.read()
        if each.source == provider
    }


def sent_email() -> str:
    """Return the id of an email that a mail server accepted, to an address of its own."""
    parts = runtime.current()
    user = make_user(email=f"ada{next(_numbers)}@customer.example", id="7")
    content = make_content(WELCOME, user, origins=parts.link_origins)
    [email_id] = Enqueuer(parts).record(EmailRequest(kind=WELCOME), [content]).ids
    [claim] = parts.claims.claim([email_id], worker="w@host").claims
    message_id = f"<{email_id}@shop.example>"
    sent = SentClaim(claim=claim, state=State.SENT, outcome=ACCEPTED, message_id=message_id)
    assert parts.attempt_results.finish_sent([sent]) == []
    return email_id


def find(email_id: str) -> Email:
    """Return an email."""
    [email] = runtime.current().history.find(email_id)
    return email


def request_about(provider: str, email_id: str, case: str) -> WebhookRequest:
    """Return a request that reports about an email; each email has events of its own."""
    [payload] = [each["payload"] for each in webhooks.cases(provider) if each["name"] == case]
    to = find(email_id).to if email_id != PLACEHOLDER else ADDRESS
    text = json.dumps(payload).replace(PLACEHOLDER, email_id).replace(ADDRESS, to)
    for own in ("c2dfZXZlbnQ", "92356927693813", "692560173"):
        text = text.replace(own, f"{own}{int(email_id[:8], 16)}")
    return webhooks.make_request(
        provider, json.loads(text), at=datetime.now(UTC), id=f"{email_id}-{case}".replace(" ", "-")
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A running service with every webhook switched on."""
    secrets = {name: webhooks.secret_of(name) for name in PROVIDER_NAMES}
    home = tmp_path_factory.mktemp("home")
    runtime.configure(Settings(MAILCTL_HOME=home, MAILCTL_WEBHOOK_SECRETS=json.dumps(secrets)))
    app = FastAPI()
    app.include_router(mailctl.feedback.router, prefix="/mail")
    runtime.current()
    with serving(app) as address:
        yield Site(address)
    runtime.close()
    runtime.configure(None)


@pytest.mark.parametrize("provider", REACHABLE)
def test_an_email_is_delivered_and_then_bounces(site: Site, provider: str) -> None:
    """Each report changes the state; its repetition is answered with 200, and changes nothing."""
    email_id = sent_email()
    bounce = request_about(provider, email_id, "bounced before" if provider == "mailgun" else "hard bounce")

    delivered = site.post(provider, request_about(provider, email_id, "delivered"))
    assert (delivered.status_code, find(email_id).state) == (200, State.DELIVERED)
    answers = [site.post(provider, bounce) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert find(email_id).state is State.BOUNCED
    assert counts(provider)[FeedbackResult.REPEATED] >= 1
    assert runtime.current().suppressions.find(find(email_id).to) is not None


def test_requests_that_come_together_are_answered_each_for_itself(site: Site) -> None:
    """Each has changed its email when it is answered; forged and malformed ones between them fail alone."""
    ids = [sent_email() for _ in range(12)]
    good = [request_about("postmark", email_id, "delivered") for email_id in ids]
    forged = replace(request_about("postmark", sent_email(), "delivered"), headers={})
    malformed = webhooks.make_request("postmark", {"Type": "HardBounce"})

    def post(number: int, request: WebhookRequest) -> tuple[int, State | None]:
        status = site.post("postmark", request).status_code
        return status, find(ids[number]).state if number < len(ids) else None

    with ThreadPoolExecutor(14) as threads:
        answers = list(threads.map(post, range(14), [*good, forged, malformed]))

    assert answers[:12] == [(200, State.DELIVERED)] * 12
    assert answers[12:] == [(401, None), (400, None)]


@pytest.mark.parametrize("provider", REACHABLE)
def test_what_cannot_be_matched_is_answered_with_200(site: Site, provider: str) -> None:
    """Emails of others, sent through the same account, concern nobody here: the provider must not retry."""
    answer = site.post(provider, request_about(provider, PLACEHOLDER, "complaint"))

    assert answer.status_code == 200
    assert counts(provider)[FeedbackResult.UNMATCHED] >= 1


@pytest.mark.parametrize("provider", PROVIDER_NAMES)
def test_what_is_forged_oversized_or_malformed_changes_nothing(
    site: Site, provider: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is refused with a status below 500, and counted; no log has addresses, secrets or the request."""
    caplog.set_level(logging.DEBUG)
    email_id = sent_email()
    request = request_about(provider, email_id, "complaint")
    body = request.body.replace(b"123456789012:bounces", b"999999999999:bounces")
    forged = replace(request, headers={}, body=body.replace(b'signature": "', b'signature": "0'))

    statuses = [
        site.post(provider, refused, scheme=scheme).status_code
        for refused, scheme in (
            (forged, "https"),
            (replace(request, body=b" " * (webhooks.make_provider(provider).max_body_bytes + 1)), "https"),
            (replace(request, headers={}, body=b"{"), "https"),
        )
    ]

    counted = {FeedbackResult.FORGED, FeedbackResult.OVERSIZED}
    for _ in range(600):  # within a second, so that a flood costs little
        if counted <= counts(provider).keys():
            break
        Event().wait(0.1)
    assert counted <= counts(provider).keys()
    assert statuses[0] == (401 if provider in UNSIGNED_PROVIDERS else 403)
    assert statuses[1] == 413
    assert statuses[2] in (400, 401, 403)
    assert find(email_id).state is State.SENT
    texts = caplog.text
    for secret in ("customer.example", webhooks.SHARED_SECRET, webhooks.secret_of("resend"), email_id):
        assert secret not in texts


@pytest.mark.parametrize("provider", sorted(UNSIGNED_PROVIDERS))
def test_a_secret_that_came_in_clear_is_not_accepted(site: Site, provider: str) -> None:
    """Whoever listens on the way knows it; the operator has to use HTTPS."""
    email_id = sent_email()

    answer = site.post(provider, request_about(provider, email_id, "complaint"), scheme="http")

    assert (answer.status_code, find(email_id).state) == (403, State.SENT)
    assert "HTTPS" in answer.json()["detail"]


def test_a_malformed_event_is_a_bad_request(site: Site) -> None:
    """The secret is right, and nothing in the request is an event."""
    request = webhooks.make_request("postmark", {"Type": "HardBounce"})

    answer = site.post("postmark", request)

    assert answer.status_code == 400


def test_the_command_answers_as_the_router_does(site: Site) -> None:
    """With the same status, body and headers, although it does without what FastAPI does for a router."""

    def answers(prefix: str, *, email_id: str) -> list[tuple[int, str, dict[str, str]]]:
        good = request_about("postmark", email_id, "delivered")
        requests = [("postmark", good), ("postmark", replace(good, headers={})), ("nobody", good)]
        url = f"{prefix}/webhooks/"
        taken = [
            httpx.post(
                url + name,
                content=each.body,
                headers={**each.headers, "x-forwarded-proto": "https"},
                timeout=60,
            )
            for name, each in requests
        ]
        taken.append(httpx.get(f"{url}postmark", timeout=60))
        assert find(email_id).state is State.DELIVERED
        return [(each.status_code, each.text, {**each.headers, "date": ""}) for each in taken]

    by_router = answers(f"{site.address}/mail", email_id=sent_email())
    with serving(create_feedback_app()) as address:
        by_command = answers(address, email_id=sent_email())
    assert [status for status, *_ in by_command] == [200, 401, 404, 405]
    assert by_command[:3] == by_router[:3]


def test_a_provider_that_does_not_exist_has_no_webhook(site: Site) -> None:
    """The path names one that is switched on."""
    assert site.post("nobody", webhooks.make_request("postmark", {})).status_code == 404
    assert httpx.get(f"{site.address}/mail/webhooks/postmark", timeout=60).status_code == 405


@pytest.mark.parametrize("leaves", [True, False])
def test_a_body_that_does_not_arrive_is_not_waited_for(
    site: Site, leaves: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever sends it slowly would hold a connection; it is counted, and no error of the service."""
    if not leaves:
        monkeypatch.setattr(routes, "_BODY_SECONDS", 0.2)
    before = counts("brevo").get(FeedbackResult.MALFORMED, 0)
    url = urlsplit(site.address)
    with socket.create_connection((url.hostname, url.port), timeout=60) as client:
        head = "POST /mail/webhooks/brevo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
        client.sendall(head.encode())
        if not leaves:
            assert client.recv(100).startswith(b"HTTP/1.1 408 ")
    for _ in range(600):
        if counts("brevo").get(FeedbackResult.MALFORMED, 0) > before:
            break
        Event().wait(0.1)
    assert counts("brevo")[FeedbackResult.MALFORMED] == before + 1
    assert "Traceback" not in caplog.text


def test_a_service_stops_after_its_functions_have_returned(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows nothing else of what has been answered; uvicorn ends its process by the signal again."""
    monkeypatch.setattr(listeners, "_listeners", [])
    stopping, heard = Event(), list[str]()

    @mailctl.on_feedback
    def hear(event: mailctl.FeedbackEvent) -> None:
        stopping.wait(60)
        heard.append(event.email_id)

    app = FastAPI()
    app.include_router(mailctl.feedback.router)
    email_id = sent_email()

    async def serve() -> None:
        async with app.router.lifespan_context(app):
            post = partial(site.post, "postmark", request_about("postmark", email_id, "delivered"))
            assert (await asyncio.to_thread(post)).status_code == 200
            asyncio.get_running_loop().call_later(0.1, stopping.set)
        assert heard == [email_id]

    asyncio.run(serve())
