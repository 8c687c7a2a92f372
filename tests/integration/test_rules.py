"""Suppressed addresses, limits, and the recipients of an environment, on a real mail server."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.suppressions import SuppressionSource
from mailctl.domain.catalog import GENERIC, WELCOME, Kind, Link
from mailctl.domain.factory import make_content, make_drafts, make_user
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.enqueue.publisher import Publisher
from tests.integration.delivering import WORKER, Post, record, states, suppress

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.smtp_server import ScriptedSmtpServer

    MakePost = Callable[..., Post]

BATCHES = "mailctl.bulk"


@pytest.fixture
def post(make_post: MakePost) -> Post:
    """A delivery on an empty log."""
    return make_post()


class TestSuppression:
    def test_an_address_that_does_not_exist_adds_itself(self, post: Post, smtp: ScriptedSmtpServer) -> None:
        """With code and reason; the next email to it, however written, ends suppressed and says why."""
        smtp.script["rcpt"] = ["550 5.1.1 no such user"]
        first = post.record("Zoe@example.com")
        assert post.deliver(first).state is State.FAILED
        assert "suppressed from now on" in post.runtime.history.events(first)[-1].text
        [entry] = post.runtime.suppressions.page(limit=9).entries
        assert (entry.address, entry.code, entry.enhanced) == ("zoe@example.com", 550, "5.1.1")
        assert (entry.source, entry.reason) == (SuppressionSource.BOUNCE, "no such user")
        second = record(post, address="zOe@example.com")
        assert post.email(second).state is State.SUPPRESSED
        [_, event] = post.runtime.history.events(second)
        assert (event.state, "550 5.1.1 no such user" in event.text) == (State.SUPPRESSED, True)
        assert smtp.messages == []

    @pytest.mark.parametrize(
        "reply", ["550 5.7.1 blocked by policy", "552 5.2.2 mailbox full", "550 no", "554 5.7.26 spam"]
    )
    def test_other_refusals_do_not(self, post: Post, smtp: ScriptedSmtpServer, reply: str) -> None:
        """Policy is about us, and a full mailbox will be emptied."""
        smtp.script["rcpt"] = [reply]
        assert post.deliver(post.record()).state is State.FAILED
        assert post.runtime.suppressions.page(limit=9).entries == ()
        assert post.deliver(post.record()).state is State.SENT

    def test_it_counts_also_for_what_waits(self, post: Post, smtp: ScriptedSmtpServer) -> None:
        """At the claim, for one and for a batch; others of the batch go out."""
        one, two, other = (
            post.record(address) for address in ("a@example.com", "b@example.com", "c@example.com")
        )
        suppress(post, "A@example.com", "b@example.com")
        report = post.deliver(one)
        assert (report.state, "asked us to stop" in report.text) == (State.SUPPRESSED, True)
        assert post.deliver_batch([two, other]) == 1
        assert states(post, [one, two, other]) == [State.SUPPRESSED, State.SUPPRESSED, State.SENT]
        assert [message.recipients for message in smtp.messages] == [("c@example.com",)]
        assert post.deliver(two).state is None

    def test_an_operator_may_insist(self, post: Post) -> None:
        """The event says who."""
        suppress(post, "zoe@example.com")
        forced = record(post, forced_by="ops@host")
        assert post.runtime.history.events(forced)[0].actor == "ops@host"
        assert post.deliver(forced).state is State.SENT

    def test_it_counts_for_messages_of_other_programs(self, post: Post) -> None:
        """They end suppressed, not failed."""
        suppress(post, "zoe@example.com")
        report = post.delivery.deliver_message(
            "task-1",
            EmailRequest(kind=WELCOME),
            {"user_data": {"email": "zoe@example.com"}},
            queue="celery",
            worker=WORKER,
        )
        assert (report.state, post.email("task-1").state) == (State.SUPPRESSED, State.SUPPRESSED)

    def test_it_counts_for_campaigns(self, post: Post) -> None:
        """Their relay never sees it."""
        suppress(post, "u1@example.com")
        drafts = [
            make_drafts(
                EmailRequest(kind=WELCOME, campaign="spring"),
                [make_content(WELCOME, make_user(email=f"u{n}@example.com"), origins=frozenset())],
                queue=BATCHES,
                now=post.runtime.outbox._clock(),
            )[0]
            for n in range(3)
        ]
        added = post.runtime.campaigns.add(post.runtime.campaigns.prepare_batch(drafts))
        assert (len(added.new), list(added.suppressed)) == (3, [drafts[1].id])
        assert drafts[1].id not in post.runtime.campaigns.take_due(limit=9)

    def test_who_is_removed_is_mailed_again(self, post: Post) -> None:
        """The list goes page by page."""
        suppress(post, "a@example.com", "b@example.com", "c@example.com")
        first = post.runtime.suppressions.page(limit=2)
        rest = post.runtime.suppressions.page(limit=2, after=first.cursor)
        assert [entry.address[0] for entry in (*first.entries, *rest.entries)] == ["a", "b", "c"]
        assert rest.cursor is None
        assert post.runtime.suppressions.remove(["A@example.com", "z@example.com"]) == ["a@example.com"]
        assert post.deliver(post.record("a@example.com")).state is State.SENT


class TestEnvironment:
    def test_only_the_allowed_are_mailed(self, make_post: MakePost, smtp: ScriptedSmtpServer) -> None:
        """By whatever way an email comes; the others end suppressed, and no circuit hears of it."""
        post = make_post(mailctl_recipients_allow="zoe@example.com,@corp.example")
        ids = [post.record(address) for address in ("zoe@example.com", "max@example.com", "qa@corp.example")]
        assert post.deliver(ids[1]).state is State.SUPPRESSED
        post.deliver_batch([ids[0], ids[2], post.record("eve@example.com")])
        report = post.delivery.deliver_message(
            "task-1",
            EmailRequest(kind=WELCOME),
            {"user_data": {"email": "ada@example.com"}},
            queue="celery",
            worker=WORKER,
        )
        assert report.state is State.SUPPRESSED
        assert "MAILCTL_RECIPIENTS_ALLOW" in report.text
        assert sorted(m.recipients for m in smtp.messages) == [("qa@corp.example",), ("zoe@example.com",)]
        forced = record(post, address="max@example.com", forced_by="ops")
        assert post.deliver(forced).state is State.SUPPRESSED, "no --force opens an environment"

    def test_a_redirect_takes_all(self, make_post: MakePost, smtp: ScriptedSmtpServer) -> None:
        """The subject and a header say who it was for; the log too."""
        post = make_post(mailctl_redirect_to="qa@corp.example")
        one, two = post.record("ada@example.com"), post.record("bo@example.com")
        assert post.deliver(one).state is State.SENT
        assert post.deliver_batch([two]) == 1
        assert [m.recipients for m in smtp.messages] == [("qa@corp.example",)] * 2
        data = smtp.messages[0].data
        assert b"\r\nSubject: [to ada@example.com] Welcome to Example\r\n" in data
        assert b"\r\nX-Original-To: ada@example.com\r\n" in data
        assert b"\r\nTo: qa@corp.example\r\n" in data
        assert [post.email(each).to for each in (one, two)] == ["ada@example.com", "bo@example.com"]

    def test_a_refused_redirect_suppresses_nobody(
        self, make_post: MakePost, smtp: ScriptedSmtpServer
    ) -> None:
        """It is our setting that is wrong: the email waits."""
        smtp.script["rcpt"] = ["550 5.1.1 no such user"]
        post = make_post(mailctl_redirect_to="qa@corp.example")
        email_id = post.record("ada@example.com")
        assert post.deliver(email_id).state is State.DEFERRED
        assert post.runtime.suppressions.page(limit=9).entries == ()


def test_an_own_kind_travels_in_full_as_the_generic_one(
    make_post: MakePost, smtp: ScriptedSmtpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who does not share the log knows it by subject, template and variables; its links are in these."""
    module = ModuleType("a_full_shop")
    link = Link(variable="invoice_url", path="/invoices", purpose="invoice", lifetime=timedelta(days=30))
    kind = Kind(
        name="invoice",
        subject="Invoice {number} from {project_name}",
        template="invoice",
        lifetime=timedelta(days=3),
        variables=("number",),
        links=(link,),
    )
    vars(module)["KINDS"] = kind
    monkeypatch.setitem(sys.modules, "a_full_shop", module)
    templates = tmp_path / "templates"
    templates.mkdir()
    for ending in ("html", "txt"):
        (templates / f"invoice.{ending}").write_text("{{ number }} {{ invoice_url }} {{ expires_in }}")
    common = {"mailctl_templates": templates, "mailctl_redirect_to": "qa@corp.example"}
    post = make_post(mailctl_catalog="a_full_shop", mailctl_messages="full", **common)
    content = make_content(
        kind, make_user(email="zoe@example.com"), origins=frozenset(), context={"number": "7"}
    )
    [email_id] = Enqueuer(post.runtime).record(EmailRequest(kind=kind), [content]).ids
    publisher = Publisher(post.runtime, worker_id="this-process")
    publisher.publish_all([post.email(email_id)])
    with post.runtime.app.connection_for_read() as connection:
        message = connection.default_channel.basic_get("celery", no_ack=True)
    publisher.close()
    assert message.headers["task"] == "send_email_task"
    _, arguments, _ = json.loads(message.body)

    elsewhere = make_post(**common, mailctl_database_url=f"sqlite:///{tmp_path / 'other.db'}")
    report = elsewhere.delivery.deliver_message(
        email_id, EmailRequest(kind=GENERIC), arguments, queue="celery", worker=WORKER
    )
    assert report.state is State.SENT, report.text
    [sent] = smtp.messages
    assert sent.recipients == ("qa@corp.example",)
    assert b"Subject: [to zoe@example.com] Invoice 7 from Example" in sent.data
    text = sent.data.replace(b"=\r\n", b"")
    assert b"http://localhost:3000/invoices?t=" in text
    assert b"720 hours" in text


def test_a_worker_that_does_not_know_a_kind_leaves_it(make_post: MakePost) -> None:
    """Its settings are wrong, not the email: it waits for a worker that does."""
    post = make_post()
    kind = Kind(name="unheard-of", subject="Hi", template="message", lifetime=timedelta(days=3))
    email_id = record(post, kind)
    report = post.deliver(email_id)
    assert (report.state, "unheard-of" in report.text) == (State.DEFERRED, True)
    assert post.email(email_id).attempts == 0
    publisher = Publisher(post.runtime, worker_id="this-process")
    waiting = post.email(record(post, kind))
    assert publisher.publish_all([waiting]) == 0
    publisher.close()
    assert "unheard-of" in (post.email(waiting.id).error or "")


def test_what_may_not_be_mailed_is_not_published_in_full(make_post: MakePost) -> None:
    """Who takes it may know nothing of this environment."""
    post = make_post(mailctl_messages="full", mailctl_recipients_allow="@corp.example")
    publisher = Publisher(post.runtime, worker_id="this-process")
    email_id = record(post)
    assert publisher.publish_all([post.email(email_id)]) == 0
    publisher.close()
    assert states(post, [email_id]) == [State.SUPPRESSED]
