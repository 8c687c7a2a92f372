"""Unsubscribing over real HTTP: one click from the email does it, and opening the link does not."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from email import message_from_bytes, policy
from threading import Event
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import delete

import mailctl.feedback
from mailctl import runtime
from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.tables import emails
from mailctl.domain.catalog import WELCOME
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.models import SentClaim
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.settings import Settings
from tests.web_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCEPTED = Outcome(kind=OutcomeKind.ACCEPTED, reply=SmtpReply(code=250, text="ok"), stage="body")
REFUSED = Outcome(
    kind=OutcomeKind.REFUSED, reply=SmtpReply(code=554, enhanced="5.6.0", text="no"), stage="body"
)
PUBLIC = "https://shop.example/mail/unsubscribe"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running service with the router, whose emails lead to it."""
    home = tmp_path_factory.mktemp("home")
    runtime.configure(Settings(MAILCTL_HOME=home, MAILCTL_UNSUBSCRIBE_URL=PUBLIC, PROJECT_NAME="Acme"))
    app = FastAPI()
    app.include_router(mailctl.feedback.router, prefix="/mail")
    runtime.current()
    with serving(app) as address:
        yield address
    runtime.close()
    runtime.configure(None)


def record(address: str, campaign: str) -> str:
    """Record an email of a campaign."""
    parts = runtime.current()
    content = make_content(WELCOME, make_user(email=address, id="7"), origins=parts.link_origins)
    [email_id] = Enqueuer(parts).record(EmailRequest(kind=WELCOME, campaign=campaign), [content]).ids
    return email_id


def link_in(email_id: str, site: str) -> tuple[str, str]:
    """Return where the link of an email leads here, and what a mail program posts to it (RFC 8058)."""
    parts = runtime.current()
    [claim] = parts.claims.claim([email_id], worker="w@host").claims
    composing = parts.composer.compose(
        id=claim.id,
        kind=claim.kind,
        content=claim.content,
        created_at=claim.created_at,
        now=datetime.now(UTC),
        can_unsubscribe=claim.can_unsubscribe,
    )
    envelope = asyncio.run(composing)
    sent = SentClaim(claim=claim, state=State.SENT, outcome=ACCEPTED, message_id=envelope.message_id)
    assert parts.attempt_results.finish_sent([sent]) == []
    message = message_from_bytes(envelope.data, policy=policy.default)
    link = str(message["List-Unsubscribe"]).strip("<>")
    assert link.startswith(PUBLIC)
    return link.replace("https://shop.example", site), str(message["List-Unsubscribe-Post"])


def test_one_click_unsubscribes(site: str, caplog: pytest.LogCaptureFixture) -> None:
    """What RFC 8058 describes: a POST without cookies, answered without a redirect; no log tells of it."""
    caplog.set_level(logging.DEBUG)
    email_id = record("ada@example.com", "spring")
    url, body = link_in(email_id, site)
    headers = {"content-type": "application/x-www-form-urlencoded"}

    answers = [httpx.post(url, content=body, headers=headers, timeout=60) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert "You are unsubscribed" in answers[0].text
    assert "a…@example.com" in answers[0].text
    parts = runtime.current()
    [next_email] = parts.history.find(record("ada@example.com", "summer"))
    assert (next_email.state, next_email.reason_code) == (State.SUPPRESSED, ReasonCode.UNSUBSCRIBED)
    reasons = [event.reason_code for event in parts.history.events(email_id)]
    assert reasons.count(ReasonCode.UNSUBSCRIBE_REPORTED) == 1
    # The client of this test is no part of the server.
    logs = ("mailctl", "uvicorn")
    logged = "".join(each.getMessage() for each in caplog.records if each.name.startswith(logs))
    assert "POST /mail/unsubscribe" in logged
    assert "ada@" not in logged
    assert url.partition("t=")[2] not in logged


def test_opening_the_link_changes_nothing(site: str) -> None:
    """Scanners open each link of an email: they see a page with a button, and only that posts."""
    email_id = record("bob@example.com", "spring")
    url, _ = link_in(email_id, site)

    page = httpx.get(url, timeout=60)

    assert page.status_code == 200
    assert '<form method="post">' in page.text
    assert "bob@example.com" not in page.text
    assert page.headers["cache-control"] == "no-store"
    assert "set-cookie" not in page.headers
    assert runtime.current().unsubscribes.find("bob@example.com", kind="welcome") is None


def test_a_link_works_after_its_email_was_deleted(site: str) -> None:
    """Recipients keep emails for longer than the delivery log does."""
    email_id = record("eve@example.com", "spring")
    url, body = link_in(email_id, site)
    parts = runtime.current()
    with writing(parts.engine) as connection:
        connection.execute(delete(emails).where(emails.c.id == email_id))

    assert httpx.post(url, content=body, timeout=60).status_code == 200
    assert parts.unsubscribes.find("eve@example.com", kind="welcome") is not None


def test_including_suppressed_addresses_includes_nobody_who_unsubscribed(site: str) -> None:
    """Neither an email that was suppressed for that, nor one that had failed before."""
    failed = record("kim@example.com", "spring")
    parts = runtime.current()
    [claim] = parts.claims.claim([failed], worker="w@host").claims
    reason = Reason(code=ReasonCode.REFUSED, text="refused")
    parts.attempt_results.finish(claim, State.FAILED, outcome=REFUSED, reason=reason)
    url, body = link_in(record("kim@example.com", "summer"), site)
    assert httpx.post(url, content=body, timeout=60).status_code == 200
    suppressed = record("kim@example.com", "autumn")

    facts = parts.actions.read_facts([failed, suppressed])

    assert facts.to_suppressed_address == frozenset()
    assert facts.to_unsubscribed == {failed, suppressed}


@pytest.mark.parametrize("query", ["", "?t=", "?t=forged", "?t=" + "A" * 3000])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_forged_link_changes_nothing(site: str, query: str, method: str) -> None:
    """It is answered with a page that says so to its reader, and without anything of the dashboard."""
    answer = httpx.request(method, f"{site}/mail/unsubscribe{query}", timeout=60)

    assert answer.status_code == 404
    assert "This link is not valid. Use the link of the newest email." in answer.text
    assert answer.headers["content-type"].startswith("text/html")
    assert "/login" not in answer.text


def test_a_forged_link_is_counted(site: str) -> None:
    """Within a second, once somebody posts with it; a program that only opens links tries anything."""
    assert httpx.post(f"{site}/mail/unsubscribe?t=forged", timeout=60).status_code == 404
    counts = runtime.current().feedback_counts
    for _ in range(600):
        if any((each.source, each.result) == ("unsubscribe", "forged") for each in counts.read()):
            return
        Event().wait(0.1)
    raise AssertionError("it was not counted")
