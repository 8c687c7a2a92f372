"""Whoever may write to the database of the delivery log, and has no key, makes no worker send anything else.

Each attack is a statement of SQL that an attacker runs; a worker then delivers what the row says.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from mailctl.delivery_log.operator_actions import AuditInfo
from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.domain.eligibility import RETRY
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.operations.maintenance import rekey
from tests.integration.delivering import Post
from tests.unbound_seals import seal_unbound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.smtp_server import ScriptedSmtpServer

SECRET = "a-secret-key-of-the-service-that-is-long"
#: What an attacker does with the row of the victim, who has asked for an email to verify the address, and of
#: another recipient. Each statement once made a worker send what nobody had asked for.
ATTACKS = {
    "a verification becomes a reset": "UPDATE mailctl_emails SET kind = 'reset' WHERE id = :victim",
    "a content moves to another row": (
        "UPDATE mailctl_emails SET content = (SELECT content FROM mailctl_emails WHERE id = :victim)"
        " WHERE id = :other"
    ),
    "a content moves to another row of the same recipient": (
        "UPDATE mailctl_emails SET content = (SELECT content FROM mailctl_emails WHERE id = :other),"
        " to_address = (SELECT to_address FROM mailctl_emails WHERE id = :other), kind = 'welcome'"
        " WHERE id = :victim"
    ),
    "a suppressed recipient behind another address": (
        "UPDATE mailctl_emails SET to_address = 'nobody@example.com' WHERE id = :victim"
    ),
    "an expired email lives on": (
        "UPDATE mailctl_emails SET expires_at = '2099-01-01 00:00:00.000000' WHERE id = :victim"
    ),
    "an email never expires": "UPDATE mailctl_emails SET expires_at = NULL WHERE id = :victim",
    "a row is sent again under another id": "UPDATE mailctl_emails SET id = :copy WHERE id = :victim",
}


@pytest.fixture
def post(tmp_path: Path, smtp: ScriptedSmtpServer) -> Iterator[Post]:
    """A delivery on an empty log."""
    post = Post(tmp_path, smtp)
    yield post
    post.close()


def record(post: Post, kind: str, address: str) -> str:
    content = make_content(BUILT_IN_KINDS[kind], make_user(email=address, id=7), origins=frozenset())
    [email_id] = Enqueuer(post.runtime).record(EmailRequest(kind=BUILT_IN_KINDS[kind]), [content]).ids
    post.runtime.publications.mark_queued([email_id])
    return email_id


def run_sql(post: Post, statement: str, **values: object) -> None:
    names = [name for name in values if f":{name}" in statement]
    with post.runtime.engine.begin() as connection:
        assert connection.execute(text(statement), {name: values[name] for name in names}).rowcount


@pytest.mark.parametrize("statement", ATTACKS.values(), ids=ATTACKS)
def test_a_changed_row_sends_nothing(post: Post, statement: str) -> None:
    """It is deferred, and says why; what was not touched is sent."""
    ids = {
        "victim": record(post, "verification", "zoe@example.com"),
        "other": record(post, "welcome", "amy@example.com"),
        "copy": "copy-of-an-email",
    }
    untouched = record(post, "welcome", "ada@example.com")
    run_sql(post, statement, **ids)
    changed = [email_id for email_id in ids.values() if post.runtime.history.find(email_id)]
    for email_id in (*changed, untouched):
        post.deliver(email_id)
    states = [post.email(email_id) for email_id in changed]
    [refused] = [email for email in states if email.reason_code is ReasonCode.UNREADABLE_CONTENT]
    assert (refused.state, refused.attempts) == (State.DEFERRED, 0)
    assert "another row" in (refused.error or "")
    assert post.email(untouched).state is State.SENT
    assert len(post.smtp.messages) == len(changed)


def test_a_sent_email_is_not_sent_again_later(post: Post) -> None:
    """Who has kept a copy of a row cannot give it a later expiry, and the sealed one has passed."""
    email_id = record(post, "reset", "zoe@example.com")
    [kept] = keep(post, email_id)
    post.deliver(email_id)
    restore = "UPDATE mailctl_emails SET state = 'queued', content = :content, sent_at = NULL, attempts = 0"
    run_sql(post, f"{restore}, expires_at = :later WHERE id = :id", id=email_id, later=later(), content=kept)
    assert post.deliver(email_id).state is not State.SENT
    past = "2001-01-01 00:00:00.000000"
    run_sql(post, f"{restore}, expires_at = :past WHERE id = :id", id=email_id, past=past, content=kept)
    assert post.deliver(email_id).state is not State.SENT
    assert len(post.smtp.messages) == 1


def keep(post: Post, *ids: str) -> list[bytes]:
    """Return the sealed contents of emails, as a dump of the database has them."""
    with post.runtime.engine.connect() as connection:
        query = text("SELECT content FROM mailctl_emails WHERE id = :id")
        return [connection.execute(query, {"id": email_id}).scalar_one() for email_id in ids]


def later() -> str:
    return (datetime.now(UTC) + timedelta(days=30)).strftime("%Y-%m-%d %H:%M:%S.%f")


def test_a_retry_with_a_new_lifetime_can_be_sent(post: Post) -> None:
    """What changes the expiry seals the content again."""
    email_id = record(post, "reset", "zoe@example.com")
    run_sql(post, "UPDATE mailctl_emails SET state = 'failed' WHERE id = :id", id=email_id)
    options = {"lifetime": timedelta(days=2), "is_forced": False, "again": False}
    states, audit = RETRY.allowed_states, AuditInfo(actor="zoe@desk")
    assert post.runtime.actions.retry([email_id], from_states=states, audit=audit, **options)
    assert post.deliver(email_id).state is State.SENT


def test_a_content_of_an_earlier_version_waits_until_it_is_sealed_anew(post: Post) -> None:
    """No worker reads it; `db rekey` seals it for its row, and never for that of another recipient."""
    ids = [record(post, "verification", address) for address in ("zoe@example.com", "amy@example.com")]
    fields = {"user": {"email": "zoe@example.com", "id": "7"}}
    unbound = seal_unbound(json.dumps(fields).encode(), secret=SECRET, purpose="log/content")
    for email_id in ids:
        put = "UPDATE mailctl_emails SET content = :content WHERE id = :id"
        run_sql(post, put, id=email_id, content=unbound)
        post.deliver(email_id)
        assert "mailctl db rekey" in str(post.email(email_id).error)
    [result] = rekey(post.runtime.settings)
    assert (result.outdated, result.unreadable) == (1, (ids[1],))
    assert not post.smtp.messages
    due = "UPDATE mailctl_emails SET state = 'queued', due_at = created_at, not_before = NULL WHERE id = :id"
    for email_id in ids:
        run_sql(post, due, id=email_id)
        post.deliver(email_id)
    assert [message.recipients for message in post.smtp.messages] == [("zoe@example.com",)]
