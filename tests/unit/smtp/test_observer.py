"""What an observer concludes from the replies of mail servers, one recipient at a time."""

from __future__ import annotations

from email.message import EmailMessage
from types import SimpleNamespace

import blinker
import pytest

from mailctl.domain.outcomes import OutcomeKind
from mailctl.smtp.observer import SmtpObserver, observing

ZOE, BOB = "zoe@example.com", "bob@example.com"
MESSAGE = b"Subject: Hello\r\nMessage-ID: <1@shop.example>\r\n\r\nMessage-ID: <body@shop.example>\r\n"
SESSION, OTHER_SESSION = object(), object()


def offer(observer: SmtpObserver, *recipients: str, session: object = SESSION) -> None:
    """Begin a transaction in which these recipients are accepted, and offer a message."""
    observer.begin(session)
    for address in recipients:
        observer.note_recipient(session, address, 250, b"2.1.5 ok")
    observer.note_body(session, MESSAGE)


def observe(*recipients: str, code: int = 250, text: object = b"2.0.0 ok") -> SmtpObserver:
    """Return an observer of one message and the reply to it."""
    observer = SmtpObserver()
    offer(observer, *recipients)
    observer.note_reply(SESSION, code, text, stage="body")
    return observer


def kinds(observer: SmtpObserver) -> dict[str, OutcomeKind]:
    """Return what became of each recipient."""
    return {address: result.outcome.kind for address, result in observer.results.items()}


def test_the_reply_to_a_message_counts_for_each_accepted_recipient() -> None:
    """Addresses are compared in lower case, and without angle brackets or a name."""
    observer = observe("<ZOE@example.com>", "Bob <bob@Example.com>")
    assert kinds(observer) == dict.fromkeys((ZOE, BOB), OutcomeKind.ACCEPTED)
    assert observer.results[ZOE].message_id == "<1@shop.example>"


@pytest.mark.parametrize("code", [250, 251, 252])
def test_a_forwarded_recipient_is_accepted(code: int) -> None:
    """RFC 5321 section 4.2.2: 251 and 252 accept it, too."""
    observer = SmtpObserver()
    observer.begin(SESSION)
    observer.note_recipient(SESSION, ZOE, code, b"ok")
    assert observer.results == {}
    observer.note_body(SESSION, MESSAGE)
    observer.note_reply(SESSION, 250, b"ok", stage="body")
    assert kinds(observer) == {ZOE: OutcomeKind.ACCEPTED}


def test_a_refused_recipient_keeps_its_own_reply() -> None:
    """The reply to the message is about the others."""
    observer = SmtpObserver()
    observer.begin(SESSION)
    observer.note_recipient(SESSION, BOB, 550, b"5.1.1 no such user")
    observer.note_recipient(SESSION, ZOE, 250, b"ok")
    observer.note_body(SESSION, MESSAGE)
    observer.note_reply(SESSION, 250, b"ok", stage="body")
    assert kinds(observer) == {BOB: OutcomeKind.REFUSED, ZOE: OutcomeKind.ACCEPTED}
    assert (observer.results[BOB].outcome.stage, observer.results[BOB].message_id) == ("rcpt", None)


def test_an_offered_message_without_a_reply_is_ambiguous() -> None:
    """The server may have it; before it is offered, nothing is known."""
    observer = SmtpObserver()
    observer.begin(SESSION)
    observer.note_recipient(SESSION, ZOE, 250, b"ok")
    assert kinds(observer) == {}
    observer.note_body(SESSION, MESSAGE)
    assert kinds(observer) == {ZOE: OutcomeKind.AMBIGUOUS}


@pytest.mark.parametrize(("code", "kind"), [(451, OutcomeKind.DEFERRED), (554, OutcomeKind.REFUSED)])
def test_the_last_reply_counts(code: int, kind: OutcomeKind) -> None:
    """Of a message that was tried again."""
    observer = SmtpObserver()
    offer(observer, ZOE)
    offer(observer, ZOE)
    observer.note_reply(SESSION, code, "no", stage="body")
    assert kinds(observer) == {ZOE: kind}


def test_what_was_accepted_once_is_sent() -> None:
    """Whatever happens to another copy."""
    observer = observe(ZOE)
    offer(observer, ZOE)
    observer.note_reply(SESSION, 554, b"a duplicate", stage="body")
    assert kinds(observer) == {ZOE: OutcomeKind.ACCEPTED}


def test_a_new_transaction_forgets_the_recipients_of_the_last() -> None:
    """RFC 5321 section 3.3: MAIL begins a new one, even if the last transaction never ended."""
    observer = SmtpObserver()
    observer.begin(SESSION)
    observer.note_recipient(SESSION, BOB, 250, b"ok")
    offer(observer, ZOE)
    observer.note_reply(SESSION, 250, b"ok", stage="body")
    assert list(observer.results) == [ZOE]


def test_a_reply_belongs_to_its_session() -> None:
    """A task may talk to two mail servers by turns."""
    observer = SmtpObserver()
    offer(observer, ZOE)
    offer(observer, BOB, session=OTHER_SESSION)
    observer.note_reply(OTHER_SESSION, 250, b"ok", stage="body")
    observer.note_reply(SESSION, 554, b"no", stage="body")
    assert kinds(observer) == {ZOE: OutcomeKind.REFUSED, BOB: OutcomeKind.ACCEPTED}


@pytest.mark.parametrize(
    ("message", "message_id"),
    [
        (MESSAGE, "<1@shop.example>"),
        (MESSAGE.decode(), "<1@shop.example>"),
        (bytearray(MESSAGE.replace(b"\r\n", b"\n")), "<1@shop.example>"),
        (b"Subject: Hello\r\n\r\nMessage-ID: <body@shop.example>\r\n", None),
        (b"Message-ID: " + b"<" + b"1" * 300 + b"@shop.example>\r\n\r\n", None),
        (object(), None),
    ],
)
def test_the_message_id_is_read_from_the_header(message: object, message_id: str | None) -> None:
    """Of text or bytes, with any line ends; never from the body."""
    observer = SmtpObserver()
    observer.begin(SESSION)
    observer.note_recipient(SESSION, ZOE, 250, b"ok")
    observer.note_body(SESSION, message)
    assert observer.results[ZOE].message_id == message_id


def test_the_text_of_a_reply_may_be_bytes_or_text() -> None:
    """smtplib returns bytes in any encoding, aiosmtplib text."""
    replies = [observe(ZOE, text=text).results[ZOE].outcome.reply for text in (b"gr\xfc\xdfe", "grüße")]
    assert [reply.text for reply in replies] == ["gr\ufffd\ufffde", "grüße"]


def flask_mail_message() -> SimpleNamespace:
    """Return a message with the attribute of Flask-Mail's."""
    return SimpleNamespace(send_to={"Zoe@example.com"})


def fastapi_mail_message() -> EmailMessage:
    """Return a message as FastAPI-Mail passes it."""
    message = EmailMessage()
    message["To"] = "Zoe <zoe@example.com>"
    return message


@pytest.mark.parametrize("message", [flask_mail_message(), fastapi_mail_message()])
def test_an_email_that_no_server_saw_is_suppressed(message: object) -> None:
    """Its library says `email_dispatched` for what it has suppressed, too."""
    signal = blinker.NamedSignal("email-dispatched")
    with observing() as observer:
        signal.send(message)
        assert observer.suppressed == {ZOE}
        offer(observer, ZOE)
    assert observer.suppressed == frozenset()


def test_every_header_field_of_recipients_is_read() -> None:
    """Bcc is removed only where a message is sent."""
    message = EmailMessage()
    message["To"], message["Cc"], message["Bcc"] = "zoe@example.com", "bob@example.com", "eve@example.com"
    with observing() as observer:
        blinker.NamedSignal("email-dispatched").send(message)
    assert observer.suppressed == {ZOE, BOB, "eve@example.com"}


@pytest.mark.parametrize(
    ("name", "message"),
    [("other-signal", fastapi_mail_message()), ("email-dispatched", object())],
)
def test_other_signals_and_messages_tell_nothing(name: str, message: object) -> None:
    """Any library may use blinker."""
    with observing() as observer:
        blinker.NamedSignal(name).send(message)
        blinker.NamedSignal(name).send()
    assert observer.suppressed == frozenset()


def test_an_observer_sees_nothing_after_its_block() -> None:
    """The next task of the thread has another one."""
    signal = blinker.NamedSignal("email-dispatched")
    with observing() as observer:
        pass
    signal.send(fastapi_mail_message())
    with observing() as outer, observing() as inner:
        signal.send(fastapi_mail_message())
    assert [each.suppressed for each in (observer, outer, inner)] == [frozenset(), frozenset(), {ZOE}]


def test_a_reply_without_a_transaction_is_about_nobody() -> None:
    """The session began before the observer did."""
    observer = SmtpObserver()
    observer.note_reply(SESSION, 250, b"ok", stage="body")
    assert observer.results == {}


@pytest.mark.parametrize("address", ["", "<>", "<"])
def test_a_recipient_without_an_address_is_noted_as_it_was_given(address: str) -> None:
    """An observer never raises into the service's task, whatever the task sends."""
    observer = SmtpObserver()
    observer.note_recipient(SESSION, address, 501, b"5.1.3 bad address")
    assert kinds(observer) == {address: OutcomeKind.REFUSED}
