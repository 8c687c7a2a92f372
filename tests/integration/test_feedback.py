"""From a mail server's acceptance to the bounce, by the commands: sent, bounced, suppressed, explained."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from mailctl.delivery_log.reports import FeedbackResult
from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.tables import feedback
from mailctl.domain.states import State
from mailctl.errors import ExitCode
from mailctl.feedback import listeners
from mailctl.feedback.ingest import MailIngester
from mailctl.feedback.maildir import MaildirSource
from mailctl.feedback.received_mail import MAX_OCTETS
from mailctl.feedback.recording import FeedbackReceipt
from mailctl.feedback.watching import FeedbackWatch
from mailctl.security.bounce_address import bounce_address_from_settings
from tests.feedback_mail import samples
from tests.smtp_server import DEFAULT_EXTENSIONS, ScriptedSmtpServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.commands import Mailctl
    from tests.integration.delivering import Post

UNKNOWN_USER = next(each for each in samples("bounces") if each.name == "postfix-unknown-user")
ADDRESS = "bounces@bounce.example.org"


@pytest.fixture
def smtp() -> Iterator[ScriptedSmtpServer]:
    """A mail server that offers delivery status notifications."""
    with ScriptedSmtpServer(extensions=[*DEFAULT_EXTENSIONS, "DSN"]) as server:
        yield server


@pytest.fixture
def post(tmp_path: Path, smtp: ScriptedSmtpServer) -> Iterator[Post]:
    """A delivery with a bounce address."""
    from tests.integration.delivering import Post

    found = Post(tmp_path / ".mailctl", smtp, mailctl_bounce_address=ADDRESS)
    yield found
    found.close()


def bounce_of(post: Post, email_id: str) -> bytes:
    """Return the bounce of an email, as Postfix writes it."""
    bounces = bounce_address_from_settings(post.runtime.settings)
    assert bounces is not None
    return UNKNOWN_USER.mail(token=bounces.token(email_id))


def test_the_envelope_asks_for_reports_and_has_the_token(post: Post) -> None:
    """The server returns both."""
    email_id = post.record()
    post.deliver(email_id)
    bounces = bounce_address_from_settings(post.runtime.settings)
    assert bounces is not None
    said = [line for _, who, line in post.smtp.log if who == "C" and line.startswith(("MAIL", "RCPT"))]
    token = bounces.token(email_id)
    assert said[0].startswith(f"MAIL FROM:<bounces+{token}@bounce.example.org>")
    assert said[0].endswith(f" RET=HDRS ENVID={token}")
    assert said[1].endswith(" NOTIFY=FAILURE,DELAY ORCPT=rfc822;zoe@example.com")


def test_a_bounce_is_told_by_every_command(
    post: Post, mailctl: Mailctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`feedback ingest`, `status`, `why`, `list`, `stats`, `suppress list`, `retry` and `resend`."""
    email_id = post.record()
    assert post.deliver(email_id).state is State.SENT
    text = bounce_of(post, email_id).decode()
    monkeypatch.setenv("SECRET_KEY", "a-secret-key-of-the-service-that-is-long")
    monkeypatch.setenv("MAILCTL_BOUNCE_ADDRESS", ADDRESS)
    assert mailctl("feedback", "ingest", stdin=text).out == "1 recorded\n"
    again = mailctl("feedback", "ingest", "--json", stdin=text)
    assert json.loads(again.out)["repeated"] == 1
    status = mailctl("status", email_id, "--json")
    found = json.loads(status.out)
    assert (status.code, found["state"], found["feedback"][0]["smtp"]["code"]) == (1, "bounced", 550)
    assert "refused by mx.example.net at" in found["explanation"]
    why = mailctl("why", email_id)
    assert why.code == 1
    assert "accepted by the mail server at" in why.out
    assert "550 5.1.1" in why.out
    listed = mailctl("list", "--state", "bounced", "--json")
    assert json.loads(listed.out)["task_id"] == email_id
    assert json.loads(mailctl("stats", "--json").out)["bounced_rate"] == 1.0
    for by, name in (("server", "default"), ("domain", "example.com")):
        [group] = json.loads(mailctl("stats", "--by", by, "--json").out)["groups"]
        assert (group["name"], group["bounced"], group["bounced_rate"]) == (name, 1, 1.0)
    [suppressed] = mailctl("suppress", "list", "--source", "bounce", "--json").out.splitlines()
    assert json.loads(suppressed)["address"] == "zoe@example.com"
    for action in ("retry", "resend"):
        refused = mailctl(action, email_id)
        assert refused.code == ExitCode.FAILED
        assert "its content was deleted when it was sent" in refused.out + refused.err


def test_a_message_that_cannot_be_recorded_comes_again(
    mailctl: Mailctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 75: Postfix and Exim keep it. Whatever else strangers send is taken."""
    absent = mailctl("feedback", "ingest", stdin="x")
    assert absent.code == 75
    assert "set MAILCTL_HOME or MAILCTL_DATABASE_URL" in absent.err
    monkeypatch.setenv("MAILCTL_HOME", str(tmp_path / "there"))
    assert mailctl("db", "upgrade").code == 0
    taken = mailctl("feedback", "ingest", stdin="Subject: hello\n\nx")
    assert (taken.code, taken.out) == (0, "ignored: the message is neither a bounce nor a complaint\n")


def test_the_module_of_the_app_hears_of_it(
    post: Post, mailctl: Mailctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command imports it, and calls its function once the report is in the log."""
    module = tmp_path / "shop_that_hears.py"
    module.write_text(
        "import mailctl\n"
        "from mailctl.celery_app import create_celery_app\n"
        "from mailctl.settings import Settings\n"
        "from pathlib import Path\n"
        "app = create_celery_app(Settings())\n"
        "mailctl.on_feedback(lambda event: Path('heard').write_text(f'{event.kind} {event.state}'))\n"
    )
    monkeypatch.setattr(listeners, "_listeners", [])
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SECRET_KEY", "a-secret-key-of-the-service-that-is-long")
    monkeypatch.setenv("MAILCTL_BOUNCE_ADDRESS", ADDRESS)
    email_id = post.record()
    post.deliver(email_id)
    text = bounce_of(post, email_id).decode()
    ran = mailctl("feedback", "ingest", "--app", "shop_that_hears:app", stdin=text)
    assert ran.code == 0, ran.err
    assert (tmp_path / "heard").read_text() == "bounced bounced"


@pytest.mark.parametrize(
    ("command", "code"),
    [(["ingest"], ExitCode.TRY_AGAIN), (["watch", "--once"], 2), (["serve"], 2), (["tail-log", "log"], 2)],
)
def test_each_source_imports_the_module_of_the_app(
    mailctl: Mailctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], code: int
) -> None:
    """Its functions hear of feedback, wherever that comes from."""
    monkeypatch.setenv("MAILCTL_FEEDBACK_LMTP", "127.0.0.1:2424")
    assert mailctl("db", "upgrade").code == 0
    (tmp_path / "log").touch()
    (tmp_path / "broken_shop.py").write_text("raise RuntimeError('it was imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    ran = mailctl("feedback", *command, "--app", "broken_shop:app", stdin="x")
    assert (ran.code, "it was imported" in ran.err) == (code, True), ran.err


def test_forged_and_repeated_mail_is_counted(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    """And changes nothing; neither tokens nor addresses are logged."""
    caplog.set_level("INFO")
    email_id = post.record()
    post.deliver(email_id)
    ingester = MailIngester(post.runtime)
    forged = UNKNOWN_USER.mail(token="a" * 42)
    assert ingester.take(forged) is FeedbackResult.FORGED
    assert post.email(email_id).state is State.SENT
    assert ingester.take(bounce_of(post, email_id)) == FeedbackReceipt(recorded=1)
    assert post.email(email_id).state is State.BOUNCED
    counts = {each.result: each.count for each in post.runtime.feedback_counts.read()}
    assert counts == {FeedbackResult.FORGED: 1, FeedbackResult.RECORDED: 1}
    bounces = bounce_address_from_settings(post.runtime.settings)
    assert bounces is not None
    assert "@" not in caplog.text
    assert bounces.token(email_id) not in caplog.text


def test_a_report_of_each_delivery_is_asked_for_on_demand(tmp_path: Path, smtp: ScriptedSmtpServer) -> None:
    """With MAILCTL_NOTIFY_SUCCESS; it is one more message for each email."""
    from tests.integration.delivering import Post

    post = Post(tmp_path, smtp, mailctl_bounce_address=ADDRESS, mailctl_notify_success=True)
    post.deliver(post.record())
    [said] = [line for _, who, line in smtp.log if who == "C" and line.startswith("RCPT")]
    assert said.endswith(" NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;zoe@example.com")
    post.close()


def test_a_message_that_breaks_the_reading_keeps_no_other_back(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted as malformed: it would fail each time that it came again."""
    email_id = post.record()
    post.deliver(email_id)
    data = bounce_of(post, email_id)

    @event.listens_for(post.runtime.engine, "before_cursor_execute")
    def refuse(_: object, __: object, statement: str, *___: object) -> None:
        if statement.startswith("INSERT INTO mailctl_feedback "):
            raise KeyError(f"zoe@example.com: {statement}")

    assert MailIngester(post.runtime).take(data) is FeedbackResult.MALFORMED
    [count] = post.runtime.feedback_counts.read()
    assert (count.result, count.count) == (FeedbackResult.MALFORMED, 1)
    assert "KeyError" in caplog.text
    assert "zoe@" not in caplog.text


def test_a_message_that_is_too_large_is_an_error(post: Post, mailctl: Mailctl) -> None:
    """With the documented exit code; it is counted all the same."""
    post.record()
    ran = mailctl("feedback", "ingest", stdin="x" * (MAX_OCTETS + 1))
    assert (ran.code, ran.out) == (ExitCode.USAGE, "oversized: the message is larger than any report\n")


def test_why_a_message_is_no_report_is_said(
    post: Post, mailctl: Mailctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a rotation of keys, the sentence says which setting decides."""
    post.record()
    monkeypatch.setenv("SECRET_KEY", "a-secret-key-of-the-service-that-is-long")
    monkeypatch.setenv("MAILCTL_BOUNCE_ADDRESS", ADDRESS)
    said = mailctl("feedback", "ingest", stdin=UNKNOWN_USER.mail(token="a" * 42).decode()).out
    assert (
        said
        == "forged: its token was signed neither with SECRET_KEY nor with a key in MAILCTL_SECRET_KEYS_OLD\n"
    )


def test_a_bounce_without_a_token_is_only_likely(post: Post) -> None:
    """It is an event; the state and the address stay as they are."""
    email_id = post.record()
    post.deliver(email_id)
    message_id = (post.email(email_id).message_id or "").strip("<>")
    text = UNKNOWN_USER.mail(token="", message_id=message_id).replace(b"bounces+@", b"noreply@")
    assert MailIngester(post.runtime).take(text) == FeedbackReceipt(likely=1)
    assert post.email(email_id).state is State.SENT
    assert post.runtime.suppressions.find("zoe@example.com") is None


def test_a_source_that_hangs_stops_neither_another_nor_the_end(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    """A thousand messages that mean nothing are counted meanwhile, and the process ends when it should."""
    released = threading.Event()

    class Hanging:
        name = "hanging"

        def run(self, *_: object, **__: object) -> None:
            released.wait()

    class Flood:
        name = "flood"

        def run(self, take: Callable[..., object], *, stopped: object, once: bool) -> None:
            for number in range(1000):
                take(b"Subject: hello\n\n%d" % number)
            watch.stop()

    watch = FeedbackWatch(post.runtime, [Hanging(), Flood()], patience_seconds=0.1)
    watch.run()
    released.set()
    [count] = post.runtime.feedback_counts.read()
    assert (count.result, count.count) == (FeedbackResult.IGNORED, 1000)
    assert "the source hanging did not stop in time" in caplog.text


def test_a_watch_outlives_what_goes_wrong(post: Post, tmp_path: Path) -> None:
    """The log is away for a while, and another source never works: the bounce is recorded all the same."""
    email_id = post.record()
    post.deliver(email_id)
    for name in ("new", "cur"):
        (tmp_path / "box" / name).mkdir(parents=True)
    (tmp_path / "box" / "new" / "1").write_bytes(bounce_of(post, email_id))
    with writing(post.runtime.engine) as connection:
        feedback.drop(connection)

    class Broken:
        name = "broken"

        def run(self, *_: object, **__: object) -> None:
            with writing(post.runtime.engine) as connection:
                feedback.create(connection, checkfirst=True)
            raise RuntimeError("it never works")

    class Box(MaildirSource):
        def run(self, take: object, *, stopped: object, once: bool) -> None:
            super().run(take, stopped=stopped, once=True)  # type: ignore[arg-type]
            if post.email(email_id).state is State.BOUNCED:
                watch.stop()

    watch = FeedbackWatch(post.runtime, [Broken(), Box(tmp_path / "box")])
    watch.run()
    assert post.email(email_id).state is State.BOUNCED


def test_a_mailbox_that_does_not_work_ends_a_single_look_with_a_sentence(
    mailctl: Mailctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cron mails it to somebody; a watch tries again instead."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("MAILCTL_FEEDBACK_IMAP", f"imaps://bounces@127.0.0.1:{port}/INBOX")
    monkeypatch.setenv("MAILCTL_FEEDBACK_IMAP_PASSWORD", "imap-password-canary")
    mailctl("send", "welcome", "--email", "zoe@example.com")
    looked = mailctl("feedback", "watch", "--once")
    assert (looked.code, "The source imap/INBOX does not work" in looked.err) == (5, True), looked.err
    assert "imap-password-canary" not in looked.err
