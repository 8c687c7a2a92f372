"""The log of an MTA changes the states of emails that this MTA accepted, and of no others."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.reports import FeedbackResult
from mailctl.domain.catalog import WELCOME
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.models import Claim, SentClaim
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.feedback import log_tail
from mailctl.feedback.followed_file import FollowedFile
from mailctl.feedback.log_tail import LogTail, follow
from mailctl.rendering.mime import make_message_id
from mailctl.runtime import Runtime
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADDRESS = "ada@customer.example"
QUEUE_ID = "4ZQ1aa0001"


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    """The parts of a process, with an empty log."""
    parts = Runtime(Settings(MAILCTL_HOME=tmp_path / "home"))
    yield parts
    parts.close()


def claim(runtime: Runtime) -> Claim:
    """Return an email that is being sent."""
    content = make_content(WELCOME, make_user(email=ADDRESS, id="7"), origins=runtime.link_origins)
    [email_id] = Enqueuer(runtime).record(EmailRequest(kind=WELCOME), [content]).ids
    [claimed] = runtime.claims.claim([email_id], worker="w@host").claims
    return claimed


def accept(runtime: Runtime, claimed: Claim, *, reply: str = f"Ok: queued as {QUEUE_ID}") -> None:
    """Record that the MTA accepted an email."""
    outcome = Outcome(kind=OutcomeKind.ACCEPTED, reply=SmtpReply(code=250, text=reply), stage="body")
    message_id = make_message_id(claimed.id, domain="shop.example")
    sent = SentClaim(claim=claimed, state=State.SENT, outcome=outcome, message_id=message_id)
    assert runtime.attempt_results.finish_sent([sent]) == []


def state(runtime: Runtime, email_id: str) -> State:
    """Return the state of an email."""
    [found] = runtime.history.find(email_id)
    return found.state


def log_of(email_id: str, status: str = "bounced (host mx said: 550 5.1.1 unknown)") -> list[str]:
    """Return what Postfix logs about an email."""
    message_id = make_message_id(email_id, domain="shop.example")
    at = datetime.now(UTC).isoformat()
    return [
        f"{at} mail postfix/cleanup[812]: {QUEUE_ID}: message-id={message_id}",
        f"{at} mail postfix/smtp[813]: {QUEUE_ID}: to=<{ADDRESS}>,"
        f" relay=mx.customer.example[203.0.113.25]:25, delay=1, delays=0/0/0/1, dsn=5.1.1, status={status}",
    ]


def test_the_queue_id_of_the_reply_proves_an_entry(runtime: Runtime) -> None:
    """The email bounces, and its address is suppressed."""
    sent = claim(runtime)
    accept(runtime, sent)
    tail = LogTail(runtime)
    for line in log_of(sent.id):
        tail.read(line)

    receipt = tail.flush()

    assert receipt.recorded == 1
    assert state(runtime, sent.id) is State.BOUNCED
    assert runtime.suppressions.find(ADDRESS) is not None


@pytest.mark.parametrize("reply", ["Ok: queued as 4ZQ1aa00011", "Ok", ""])
def test_an_entry_of_another_queue_id_changes_nothing(runtime: Runtime, reply: str) -> None:
    """Whoever sends through this MTA may use the Message-ID of an email of ours: it is noted as likely."""
    sent = claim(runtime)
    accept(runtime, sent, reply=reply)
    tail = LogTail(runtime)
    for line in log_of(sent.id):
        tail.read(line)

    receipt = tail.flush()

    assert (receipt.recorded, receipt.likely) == (0, 1)
    assert state(runtime, sent.id) is State.SENT
    assert runtime.suppressions.find(ADDRESS) is None


def test_an_entry_waits_for_the_outcome_of_its_email(runtime: Runtime) -> None:
    """The MTA delivers in less time than a worker needs to record the reply."""
    sending = claim(runtime)
    now = 0.0
    tail = LogTail(runtime, clock=lambda: now)
    for line in log_of(sending.id, "sent (250 2.0.0 OK)"):
        tail.read(line)

    early = tail.flush()
    waits = tail.is_waiting
    accept(runtime, sending)
    late = tail.flush()

    assert (early.recorded, waits, late.recorded, tail.is_waiting) == (0, True, 1, False)
    assert state(runtime, sending.id) is State.DELIVERED


def test_an_email_of_another_service_is_waited_for_and_counted(runtime: Runtime) -> None:
    """After two minutes no outcome comes any more."""
    now = 0.0
    tail = LogTail(runtime, clock=lambda: now)
    for line in log_of("another"):
        tail.read(line)
    first = tail.flush()
    now = 121.0
    second = tail.flush()
    assert (first.unmatched, second.unmatched, tail.is_waiting) == (0, 1, False)


def test_many_deferrals_are_one_event(runtime: Runtime) -> None:
    """An MTA tries for five days; the first deferral says that the email is delayed."""
    sent = claim(runtime)
    accept(runtime, sent)
    tail = LogTail(runtime, format="postfix")
    first, deferred = log_of(sent.id, "deferred (connect to mx: timed out)")
    tail.read(first)
    for _ in range(20):
        tail.read(deferred)
    receipt = tail.flush()
    assert (receipt.recorded, receipt.repeated) == (1, 19)


def test_a_log_is_followed_and_gone_on_with(runtime: Runtime, tmp_path: Path) -> None:
    """An email whose queue id was logged before the restart is found after it."""
    sent = claim(runtime)
    accept(runtime, sent)
    log, place = tmp_path / "mail.log", tmp_path / "place.json"
    first, second = log_of(sent.id, "sent (250 2.0.0 OK)")

    def run() -> int:
        file = FollowedFile(log, state=place, from_start=True)
        recorded = sum(each.recorded for each in follow(LogTail(runtime), file, is_once=True))
        file.close()
        return recorded

    log.write_text(first + "\n")
    before = run()
    with log.open("a") as appended:
        appended.write(second + "\n")
    assert (before, run(), run()) == (0, 1, 0)
    assert state(runtime, sent.id) is State.DELIVERED


def test_no_more_entries_wait_than_a_bound(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of another service that sends through the same MTA are counted, and keep out no others."""
    monkeypatch.setattr(log_tail, "_MAX_WAITING", 1)
    claimed, tail = claim(runtime), LogTail(runtime)
    for line in (*log_of("0" * 32), *(each.replace(QUEUE_ID, "4ZQ1aa0002") for each in log_of(claimed.id))):
        tail.read(line)
    early = tail.flush()
    accept(runtime, claimed, reply="Ok: queued as 4ZQ1aa0002")
    assert (early.unmatched, tail.flush().recorded) == (1, 1)


def test_a_line_that_is_longer_than_any_is_counted(runtime: Runtime) -> None:
    """Nothing in it is read, and the next line is."""
    claimed = claim(runtime)
    accept(runtime, claimed)
    tail = LogTail(runtime)
    for line in ("x" * 10_000, *log_of(claimed.id)):
        tail.read(line)
    assert tail.flush(is_end=True).recorded == 1
    counted = {(each.source, each.result): each.count for each in runtime.feedback_counts.read()}
    assert counted["postfix-log", FeedbackResult.OVERSIZED] == 1


@pytest.mark.parametrize(
    ("form", "line", "says"),
    [
        (None, "Nov 29 10:00:00 host sshd[1]: no mail", "in the format of postfix or exim"),
        ("exim", log_of("0" * 32)[0], "in the format of exim"),
        ("postfix", log_of("0" * 32)[0], ""),
    ],
    ids=("no mail", "another program", "without news"),
)
def test_a_file_that_is_no_such_log_is_told_from_one_without_news(
    runtime: Runtime,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    form: str | None,
    line: str,
    says: str,
) -> None:
    """The wrong file, or the wrong format, would be silent for ever."""
    log = tmp_path / "mail.log"
    log.write_text(f"{line}\n")
    followed = FollowedFile(log, state=None, from_start=True)
    list(follow(LogTail(runtime, format=form), followed, is_once=True))
    followed.close()
    warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert [each.endswith(says) for each in warnings] == ([True] if says else [])
