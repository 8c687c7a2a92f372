"""Generic emails: one with a template for security emails is of that kind, whichever way it comes."""

from __future__ import annotations

import json
import sys
import types
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.delivery_log.pauses import PauseScope
from mailctl.diagnosis.status import StatusService
from mailctl.domain.catalog import BUILT_IN_KINDS, GENERIC, RESET, Kind
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.enqueue.publisher import Publisher
from mailctl.errors import InvalidInput
from mailctl.operations.preview import PreviewRequest, make_preview
from tests.integration.delivering import WORKER, Post

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailctl.domain.models import Email
    from tests.smtp_server import ScriptedSmtpServer

    MakePost = Callable[..., Post]

LINK = "http://localhost:3000/reset-password?t=a-token-of-the-service"
SECURITY = [kind for kind in BUILT_IN_KINDS.values() if kind.links]
CONTEXTS: dict[str, dict[str, Any]] = {
    "reset": {"reset_url": LINK},
    "verification": {"verification_url": LINK},
    "new-ip": {"ip_address": "203.0.113.7", "whitelist_url": LINK, "blacklist_url": LINK},
}


def record(post: Post, template: str, context: dict[str, Any], *, subject: str = "Your password") -> Email:
    """Record a generic email."""
    runtime = post.runtime
    content = make_content(
        GENERIC,
        make_user(email="zoe@example.com"),
        origins=runtime.link_origins,
        catalog=runtime.catalog,
        subject=subject,
        template=template,
        context=context,
    )
    [email_id] = Enqueuer(runtime).record(EmailRequest(kind=GENERIC), [content]).ids
    return post.email(email_id)


def receive(post: Post, template: str, context: dict[str, Any], *, task_id: str) -> Email:
    """Take the message of another program."""
    recipients = [{"name": "", "email": "zoe@example.com"}]
    words = {"subject": "Hi", "recipients": recipients, "template_name": template, "context": context}
    post.delivery.deliver_message(task_id, EmailRequest(kind=GENERIC), words, queue="celery", worker=WORKER)
    return post.email(task_id)


@pytest.mark.parametrize("kind", SECURITY, ids=lambda kind: kind.name)
def test_it_is_recorded_as_the_kind_of_its_template(kind: Any, make_post: MakePost) -> None:
    """With its lifetime, by a call as by a message."""
    post = make_post()
    emails = [record(post, kind.name, CONTEXTS[kind.name])]
    emails.append(receive(post, kind.name, CONTEXTS[kind.name], task_id="from-elsewhere"))
    for email in emails:
        assert email.kind == kind.name
        assert email.expires_at == email.created_at + kind.lifetime
    assert emails[1].state is State.SENT, emails[1].error


def test_another_template_is_of_the_generic_kind(make_post: MakePost) -> None:
    """And lives as long as before."""
    email = record(make_post(), "message", {"body": "x"})
    assert email.kind == "email"
    assert email.expires_at == email.created_at + timedelta(days=5)


def test_it_says_what_its_sender_wrote(make_post: MakePost, smtp: ScriptedSmtpServer) -> None:
    """Its subject and its link are the caller's; nothing is minted, and times that it lacks are filled in."""
    post = make_post()
    report = post.deliver(record(post, "reset", CONTEXTS["reset"], subject="Choose another one").id)
    assert report.state is State.SENT, report.text
    [sent] = smtp.messages
    text = sent.data.replace(b"=\r\n", b"").replace(b"=3D", b"=")
    assert b"Subject: Choose another one" in sent.data
    assert text.count(LINK.encode()) >= 2
    assert text.count(b"?t=") == text.count(LINK.encode())
    assert b"1 hour" in text


def test_its_sender_knows_best_how_long_its_link_works(make_post: MakePost, smtp: ScriptedSmtpServer) -> None:
    """A service that makes its own links gives them their life."""
    post = make_post()
    post.deliver(record(post, "reset", CONTEXTS["reset"] | {"expires_in": "30 minutes"}).id)
    assert b"30 minutes" in smtp.messages[0].data
    assert b"1 hour" not in smtp.messages[0].data


@pytest.mark.parametrize(
    ("template", "worse"),
    [
        ("reset", {"expires_in": "1 h http://evil.example/W"}),
        ("reset", {"expires_at": "soon\r\nhttp://evil.example/W"}),
        ("new-ip", {"occurred_at": "http://evil.example/z"}),
        ("reset", {"reset_url": None}),
        ("verification", {"verification_url": None}),
        ("new-ip", {"whitelist_url": None}),
        ("new-ip", {"blacklist_url": None}),
        ("new-ip", {"ip_address": None}),
    ],
)
def test_no_message_brings_another_link_or_none(
    make_post: MakePost, smtp: ScriptedSmtpServer, template: str, worse: dict[str, Any]
) -> None:
    """What other programs send passes the gate as a call does."""
    post, context = make_post(), CONTEXTS[template] | worse
    with pytest.raises(InvalidInput, match=next(iter(worse))):
        record(post, template, context)
    received = receive(post, template, context, task_id="from-elsewhere")
    assert received.state is State.FAILED
    assert next(iter(worse)) in (received.error or "")
    assert not smtp.messages


def test_limits_count_both_ways_of_sending_a_reset(make_post: MakePost) -> None:
    """Neither gives an attacker a second allowance."""
    post = make_post(mailctl_limit_per_recipient="reset=2/h")
    user = make_user(email="zoe@example.com")
    content = make_content(RESET, user, origins=frozenset())
    [first] = Enqueuer(post.runtime).record(EmailRequest(kind=RESET), [content]).ids
    generic = [record(post, "reset", CONTEXTS["reset"]) for _ in range(2)]
    received = receive(post, "reset", CONTEXTS["reset"], task_id="from-elsewhere")
    states = [post.email(first).state, *(email.state for email in generic), received.state]
    assert states == [State.PENDING, State.PENDING, State.SUPPRESSED, State.SUPPRESSED]
    assert "2 reset emails per hour" in (received.error or "")


def test_pausing_the_kind_keeps_it_back(make_post: MakePost) -> None:
    """An operator who stops resets stops all of them."""
    post = make_post()
    email = record(post, "reset", CONTEXTS["reset"])
    post.runtime.pauses.pause(PauseScope.KIND, "reset", actor="ops@host", reason="abuse")
    assert post.deliver(email.id).state is None
    assert post.email(email.id).state is State.PENDING


def test_in_full_it_travels_as_the_generic_task(
    make_post: MakePost, tmp_path: Path, smtp: ScriptedSmtpServer
) -> None:
    """The task of a reset takes neither a subject nor variables; who receives it knows the kind again."""
    post = make_post(mailctl_messages="full")
    email = record(post, "reset", CONTEXTS["reset"] | {"title": "Hello"})
    publisher = Publisher(post.runtime, worker_id="this-process")
    publisher.publish_all([email])
    with post.runtime.app.connection_for_read() as connection:
        message = connection.default_channel.basic_get("celery", no_ack=True)
    publisher.close()
    assert message.headers["task"] == "send_email_task"
    _, arguments, _ = json.loads(message.body)
    assert (arguments["subject"], arguments["template_name"]) == ("Your password", "reset")
    assert arguments["context"] == CONTEXTS["reset"] | {"title": "Hello"}

    elsewhere = make_post(mailctl_database_url=f"sqlite:///{tmp_path / 'other.db'}")
    elsewhere.delivery.deliver_message(
        email.id, EmailRequest(kind=GENERIC), arguments, queue="celery", worker=WORKER
    )
    received = elsewhere.email(email.id)
    assert (received.kind, received.state) == ("reset", State.SENT)


def test_a_template_of_the_service_takes_its_place(
    make_post: MakePost, tmp_path: Path, smtp: ScriptedSmtpServer
) -> None:
    """With variables of its own; they pass the gate of the kind all the same."""
    folder = tmp_path / "templates"
    folder.mkdir()
    for ending in ("html", "txt"):
        (folder / f"reset.{ending}").write_text("{{ title }}: {{ go.link }}")
    post = make_post(mailctl_templates=folder)
    with pytest.raises(InvalidInput, match=r"link leads to https://evil\.example"):
        record(post, "reset", {"go": {"link": "https://evil.example/"}})
    report = post.deliver(record(post, "reset", {"go": {"link": LINK}}).id)
    assert report.state is State.SENT, report.text
    assert b"Your password: http://localhost:3000/reset-password" in smtp.messages[0].data


def test_a_task_of_the_service_keeps_its_generic_emails(make_post: MakePost, service_app: str) -> None:
    """It has templates of its own: the links are checked, the rest is not mailctl's to judge."""
    post = make_post(mailctl_app=service_app)
    email = record(post, "reset", CONTEXTS["reset"])
    assert email.kind == "email"
    assert email.expires_at == email.created_at + RESET.lifetime
    with pytest.raises(InvalidInput, match="reset_url"):
        record(post, "reset", {"reset_url": "https://evil.example/"})


@pytest.fixture
def service_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A Celery app that has a task of the generic name itself."""
    (tmp_path / "their_app.py").write_text(
        "from celery import Celery\n"
        "app = Celery('theirs', broker='memory://')\n"
        "@app.task(name='send_email_task', shared=False)\n"
        "def send(subject, recipients, template_name, context): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "their_app:app"


def test_a_kind_can_be_previewed_whose_variables_are_links(
    make_post: MakePost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it has no samples of them, made-up ones pass the gate."""
    names = ("verification_url", "action_url", "ip_address", "logo_url", "number")
    kind = Kind(name="own", subject="Hi", template="welcome", lifetime=timedelta(days=1), variables=names)
    module = types.ModuleType("a_shop_with_links")
    vars(module)["KINDS"] = kind
    monkeypatch.setitem(sys.modules, "a_shop_with_links", module)
    post = make_post(mailctl_catalog="a_shop_with_links")
    assert "http://localhost:3000" in make_preview(post.runtime, PreviewRequest(kind=kind)).html


def test_a_template_that_breaks_after_the_recording_is_named_with_its_line(
    make_post: MakePost, tmp_path: Path
) -> None:
    """`why` says where to correct it, and the command that sends the email then."""
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "notice.html").write_text("<p>Hello</p>")
    post = make_post(mailctl_templates=folder)
    email_id = record(post, "notice", {}).id
    (folder / "notice.html").write_text("<p>Hello</p>\n<p>{{ nosuch }}</p>")
    later = make_post(mailctl_templates=folder)
    assert later.deliver(email_id).state is State.FAILED
    cause = StatusService(later.runtime).why(email_id).causes[0]
    assert "notice.html, line 2: the variable nosuch is missing" in cause.sentence
    assert str(cause.next_step) == f"mailctl retry {email_id}"
