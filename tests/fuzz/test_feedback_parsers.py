"""Parsers of feedback: mail, webhooks and logs by strangers are read or refused, in little memory."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st

from mailctl.domain import unicode_safety
from mailctl.domain.webhook_secrets import PROVIDER_NAMES
from mailctl.feedback import lmtp
from mailctl.feedback.mta_logs import LOGS
from mailctl.feedback.providers.webhook import WebhookRefused
from mailctl.feedback.reading import read_mail
from mailctl.feedback.recording import report_of
from tests import webhooks
from tests.feedback_mail import BOUNCES, EMAIL_ID, samples
from tests.fuzz.cases import PROPERTY, try_cases

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy

    from mailctl.delivery_log.reports import FeedbackResult

pytestmark = pytest.mark.timeout(7200)
#: What one case may take, in bytes.
MEMORY = 16 * 1024 * 1024
MAILS = [sample.mail() for name in ("bounces", "auto_replies", "complaints") for sample in samples(name)]
PIECES = st.sampled_from(
    [
        b"\n",
        b"\n\n",
        b"\r\n ",
        b"--",
        b"--b\n",
        b"Content-Type: multipart/report; boundary=b\n\n",
        b"Content-Type: message/delivery-status\n\n",
        b"Content-Type: message/feedback-report\n\n",
        b"Content-Transfer-Encoding: base64\n",
        b"Final-Recipient: rfc822; ",
        b"Original-Rcpt-To: ",
        b"Remote-MTA: dns; ",
        b"Action: failed\n",
        b"Diagnostic-Code: smtp; 550 5.1.1 ",
        b"Message-ID: <",
        b"=?utf-8?b?",
        b'="',
        b";a*1*=",
        b"a",
        b"@",
        b".",
        b"(",
        b"<",
        b"at ",
        b"bounces+",
    ]
)
LOG_LINES = [
    line.encode()
    for name in LOGS
    for line in (Path(webhooks.FOLDER).parent / "logs" / f"{name}.log").read_text().splitlines()
]
LOG_PIECES = st.sampled_from(
    [
        b"to=<",
        b"relay=",
        b" status=bounced (",
        b"dsn=5.1.1,",
        b" H=",
        b' C="',
        b"**",
        b"=>",
        b" id=",
        b"queued as ",
    ]
)
RECEIVERS = [webhooks.make_provider(name) for name in PROVIDER_NAMES]
REQUESTS = [
    (number, webhooks.make_request(name, case["payload"]))
    for number, name in enumerate(PROVIDER_NAMES)
    for case in webhooks.cases(name)
]
BOUNCE_TOKEN = BOUNCES.token(EMAIL_ID)
COMMANDS = st.sampled_from(
    [
        b"LHLO x\r\n",
        b"MAIL FROM:<>\r\n",
        b"RCPT TO:<a@example.com>\r\n",
        b"DATA\r\n",
        b".\r\n",
        b"..\n",
        b"RSET\r\n",
    ]
)
#: Beyond the longest line that is read, too.
LONG_LINES = st.integers(0, 70_000).map(lambda length: b"x" * length + b"\n")
NOISE = st.builds(
    lambda pieces, times: b"".join(pieces) * times,
    st.lists(PIECES | st.binary(max_size=4), max_size=4),
    st.integers(1, 300),
)


def damaged(texts: SearchStrategy[bytes], noise: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """Return texts in which something was replaced by noise, somewhere."""
    return st.builds(
        lambda text, place, cut, noise: (
            text[: place % (len(text) + 1)] + noise + text[place % (len(text) + 1) + cut :]
        ),
        texts,
        st.integers(0, 5000),
        st.integers(0, 80),
        noise,
    )


def read_report(data: bytes) -> None:
    """It says something of few emails, or why not; only a token proves which email it is about."""
    reading = read_mail(data, bounces=BOUNCES)
    assert bool(reading.items) == (reading.rejected is None)
    assert len(reading.items) <= 5
    assert {item.email_id for item in reading.items} <= {None, EMAIL_ID}
    for item in reading.items:
        assert not unicode_safety.has_controls(report_of(item).summary)


def verify_token(token: str) -> None:
    """A damaged token names no email; only upper and lower case make no difference."""
    if BOUNCES.email_id(token) is not None:
        assert token.lower() == BOUNCE_TOKEN


def read_log(lines: list[str]) -> None:
    """What strangers write into lines is one line without controls."""
    for log in (made() for made in LOGS.values()):
        for line in lines:
            for entry in log.read(line):
                assert not unicode_safety.has_controls(entry.diagnostic)


def read_webhook(given: tuple[int, bytes]) -> None:
    """The proof aside: a request is read or refused, and each report is one of few kinds, in short texts."""
    number, body = given
    receiver = RECEIVERS[number]
    request = replace(REQUESTS[0][1], body=body[: receiver.max_body_bytes])
    try:
        parsed = receiver.parse(request)
    except WebhookRefused:
        return
    for report in parsed.reports:
        assert len(report.diagnostic) <= 2000
        assert not unicode_safety.has_controls(report.diagnostic)
        json.dumps([report.source_id, report.recipient, report.message_id]).encode()


@dataclass
class Replies:
    """What a client of LMTP was answered."""

    octets: int = 0

    def write(self, data: bytes) -> None:
        """Count what is written."""
        self.octets += len(data)

    async def drain(self) -> None:
        """Never wait: the client reads all."""


def converse(said: list[bytes]) -> None:
    """Each line has a short answer, and no more is kept of a client than its message."""
    taken: list[bytes] = []

    async def count(result: FeedbackResult) -> None:
        """A line that is too long."""

    async def run() -> int:
        reader, replies = asyncio.StreamReader(limit=64 * 1024), Replies()
        reader.feed_data(b"".join(said))
        reader.feed_eof()
        session = lmtp._Session(reader, replies, lambda message, _: taken.append(message), count)  # type: ignore[arg-type]
        # As the server takes it: the connection ends.
        with suppress(lmtp._InputTooLarge, asyncio.IncompleteReadError):
            await session.run()
        return replies.octets

    octets = asyncio.run(run())
    lines = b"".join(said).count(b"\n") + 2
    assert octets <= 200 * lines
    assert sum(map(len, taken)) <= 100 * sum(map(len, said))


def webhook_bodies() -> SearchStrategy[tuple[int, bytes]]:
    """Return requests of providers in which something was replaced."""
    noise = st.sampled_from(
        [b"null", b"{}", b"[]", b'"', b"1e999", b'"\\u0000"', b"\\ud800", b"-1", b"[" * 3000]
    )
    of_provider = st.sampled_from(REQUESTS).map(lambda each: (each[0], each[1].body))
    return of_provider.flatmap(
        lambda each: st.tuples(st.just(each[0]), damaged(st.just(each[1]), noise | st.binary(max_size=20)))
    )


PARSERS: dict[str, tuple[SearchStrategy[Any], Callable[[Any], None]]] = {
    "mail with feedback": (damaged(st.sampled_from(MAILS), NOISE) | NOISE, read_report),
    "bounce addresses": (
        damaged(st.just(BOUNCE_TOKEN.encode()), st.binary(max_size=3)).map(
            lambda each: each.decode("latin-1")
        ),
        verify_token,
    ),
    "logs of mail servers": (
        st.lists(
            damaged(st.sampled_from(LOG_LINES), LOG_PIECES | st.binary(max_size=5)).map(
                lambda each: each.decode("utf-8", "replace")
            ),
            max_size=4,
        ).map(lambda lines: [*(line.decode() for line in LOG_LINES[:6]), *lines]),
        read_log,
    ),
    "webhooks": (webhook_bodies(), read_webhook),
    "LMTP sessions": (
        st.lists(COMMANDS | PIECES | st.binary(max_size=20) | LONG_LINES, max_size=12),
        converse,
    ),
}


@pytest.mark.parametrize("name", PARSERS)
def test_any_feedback_is_read_or_refused(name: str, is_long: bool, record_property: Any) -> None:
    """With no other error, and in bounded memory."""
    inputs, parse = PARSERS[name]
    cases = try_cases(name, inputs, parse, is_long=is_long)
    record_property(PROPERTY, cases.row)
    assert cases.octets < MEMORY
