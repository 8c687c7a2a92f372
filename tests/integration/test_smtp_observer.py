"""What is seen of email that code of a service sends, through each library that it may use."""

from __future__ import annotations

import asyncio
import smtplib
import threading
from contextlib import suppress
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

import aiosmtplib
import pytest
from fastapi_mail import ConnectionConfig, FastMail, MessageSchema, MessageType

from mailctl.domain.outcomes import OutcomeKind
from mailctl.smtp.observer import SmtpObserver, observing
from tests.smtp_server import AcceptThenDrop, Drop

if TYPE_CHECKING:
    from tests.smtp_server import ScriptedSmtpServer


def message_to(recipients: list[str]) -> EmailMessage:
    """Return a message."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@shop.example", ", ".join(recipients), "Hello"
    message["Message-ID"] = "<1@shop.example>"
    message.set_content("Hello.")
    return message


def with_smtplib(server: ScriptedSmtpServer, recipients: list[str]) -> None:
    """Send as Django and Flask-Mail do."""
    with smtplib.SMTP("127.0.0.1", server.port) as session:
        session.send_message(message_to(recipients))


def with_aiosmtplib(server: ScriptedSmtpServer, recipients: list[str]) -> None:
    """Send as FastAPI-Mail does."""
    asyncio.run(
        aiosmtplib.send(message_to(recipients), hostname="127.0.0.1", port=server.port, start_tls=False)
    )


def with_commands(server: ScriptedSmtpServer, recipients: list[str]) -> None:
    """Send by single commands, as `sendmail` of subclasses does."""
    with smtplib.SMTP("127.0.0.1", server.port) as session:
        session.ehlo()
        session.mail("shop@shop.example")
        for recipient in recipients:
            session.rcpt(recipient)
        session.data(message_to(recipients).as_bytes())


def with_another_threads_loop(server: ScriptedSmtpServer, recipients: list[str]) -> None:
    """Send on an event loop that stays open, from a thread that waits for it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    sending = aiosmtplib.send(message_to(recipients), hostname="127.0.0.1", port=server.port, start_tls=False)
    try:
        asyncio.run_coroutine_threadsafe(sending, loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


LIBRARIES = [with_smtplib, with_aiosmtplib, with_commands, with_another_threads_loop]


def observe(send: Any, server: ScriptedSmtpServer, *recipients: str) -> SmtpObserver:
    """Send, and return what was seen."""
    with observing() as observer, suppress(OSError, smtplib.SMTPException, aiosmtplib.SMTPException):
        send(server, list(recipients))
    return observer


@pytest.mark.parametrize("send", LIBRARIES)
def test_acceptance_is_seen(send: Any, smtp: ScriptedSmtpServer) -> None:
    """The reply to the message, for each recipient."""
    found = observe(send, smtp, "Zoe@example.com", "bob@example.com").results
    assert sorted(found) == ["bob@example.com", "zoe@example.com"]
    zoe = found["zoe@example.com"]
    assert (zoe.outcome.kind, zoe.outcome.reply.code) == (OutcomeKind.ACCEPTED, 250)
    assert zoe.message_id == "<1@shop.example>"


@pytest.mark.parametrize("send", LIBRARIES)
def test_a_refused_recipient_is_seen(send: Any, smtp: ScriptedSmtpServer) -> None:
    """Although the library only returns it."""
    smtp.script["rcpt"] = [None, "550 5.1.1 no such user"]
    found = observe(send, smtp, "zoe@example.com", "bob@example.com").results
    assert found["zoe@example.com"].outcome.kind is OutcomeKind.ACCEPTED
    assert found["bob@example.com"].outcome.kind is OutcomeKind.REFUSED


@pytest.mark.parametrize("send", LIBRARIES)
@pytest.mark.parametrize(("stage", "kind"), [("data", OutcomeKind.DEFERRED), ("body", OutcomeKind.DEFERRED)])
def test_a_refused_message_is_seen(
    send: Any, stage: str, kind: OutcomeKind, smtp: ScriptedSmtpServer
) -> None:
    """Before the message was transferred, and after."""
    smtp.script[stage] = ["451 4.3.0 later"]
    [found] = observe(send, smtp, "zoe@example.com").results.values()
    assert (found.outcome.kind, found.outcome.reply.text) == (kind, "later")


@pytest.mark.parametrize("send", LIBRARIES)
@pytest.mark.parametrize("action", [AcceptThenDrop(), Drop()])
def test_a_lost_reply_is_ambiguous(send: Any, action: Any, smtp: ScriptedSmtpServer) -> None:
    """The server may have the message."""
    smtp.script["body"] = [action]
    [found] = observe(send, smtp, "zoe@example.com").results.values()
    assert found.outcome.kind is OutcomeKind.AMBIGUOUS


@pytest.mark.parametrize("send", LIBRARIES)
def test_nothing_is_seen_outside(send: Any, smtp: ScriptedSmtpServer) -> None:
    """Other tasks of the process send as they did."""
    with observing() as observer:
        pass
    send(smtp, ["zoe@example.com"])
    smtp.wait_for(1)
    assert observer.results == {}


def test_contexts_do_not_mix(smtp: ScriptedSmtpServer) -> None:
    """Tasks in threads of one process."""
    found: dict[str, SmtpObserver] = {}

    def run(address: str) -> None:
        found[address] = observe(with_smtplib, smtp, address)

    addresses = [f"user{number}@example.com" for number in range(8)]
    threads = [threading.Thread(target=run, args=(address,)) for address in addresses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {address: list(observer.results) for address, observer in found.items()} == {
        address: [address] for address in addresses
    }


@pytest.mark.parametrize("suppress_send", [0, 1])
def test_a_suppressed_email_is_told_from_a_sent_one(suppress_send: int, smtp: ScriptedSmtpServer) -> None:
    """FastAPI-Mail's `email_dispatched` fires for both."""
    config = ConnectionConfig(
        MAIL_USERNAME="",
        MAIL_PASSWORD="",
        MAIL_FROM="shop@shop.example",
        MAIL_PORT=smtp.port,
        MAIL_SERVER="127.0.0.1",
        MAIL_STARTTLS=False,
        MAIL_SSL_TLS=False,
        USE_CREDENTIALS=False,
        SUPPRESS_SEND=suppress_send,
    )
    message = MessageSchema(
        subject="Hello", recipients=["zoe@example.com"], body="Hello.", subtype=MessageType.plain
    )
    with observing() as observer:
        asyncio.run(FastMail(config).send_message(message))
    assert observer.suppressed == ({"zoe@example.com"} if suppress_send else set())
    assert list(observer.results) == ([] if suppress_send else ["zoe@example.com"])
