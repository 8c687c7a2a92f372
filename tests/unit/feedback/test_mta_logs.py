"""The logs of Postfix and Exim, in the forms that both document."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailctl.feedback.models import FeedbackKind
from mailctl.feedback.mta_logs import LOGS, EximLog, LogEntry, PostfixLog, format_of

FOLDER = Path(__file__).parents[2] / "data" / "feedback" / "logs"


def lines(name: str) -> list[str]:
    """Return the lines of a log."""
    return (FOLDER / f"{name}.log").read_text().splitlines()


def told(entry: LogEntry) -> tuple[object, ...]:
    """Return what an entry says, without times."""
    return (
        entry.kind.value,
        int(entry.message_id[:32]),
        entry.recipient,
        entry.queue_ids,
        entry.enhanced_code,
    )


def test_what_postfix_says_of_each_email() -> None:
    """Sent, refused, tried again until it expires, and passed through a content filter; not other emails."""
    log = PostfixLog()

    entries = [entry for line in lines("postfix") for entry in log.read(line)]

    three = "three@slow.example"
    assert [told(entry) for entry in entries] == [
        ("delivered", 1, "one@customer.example", ("4ZQ1aa0001",), "2.0.0"),
        ("bounced", 2, "two@customer.example", ("4ZQ1aa0002",), "5.1.1"),
        ("delayed", 3, three, ("4ZQ1aa0003",), "4.4.1"),
        ("delayed", 3, three, ("4ZQ1aa0003",), "4.2.2"),
        ("bounced", 3, three, ("4ZQ1aa0003",), "4.2.2"),
        ("delivered", 4, "four@customer.example", ("4ZQ1aa0004", "4ZQ1bb0004"), "2.0.0"),
    ]
    assert [entry.remote_server for entry in entries] == [
        "mx.customer.example",
        "mx.customer.example",
        None,
        "mx.slow.example",
        "mx.slow.example",
        "mx.customer.example",
    ]
    assert "mailbox full" in entries[4].diagnostic
    assert entries[0].at is None
    assert entries[5].at is not None
    assert entries[5].at.isoformat() == "2026-03-04T10:59:02+00:00"


def test_what_exim_says_of_each_email() -> None:
    """Delivered, failed and deferred, with short and long ids, with and without time zone and process id."""
    log = EximLog()

    entries = [entry for line in lines("exim") for entry in log.read(line)]

    assert [told(entry)[:4] for entry in entries] == [
        ("delivered", 1, "one@customer.example", ("1rgABC-0001xy-2z",)),
        ("bounced", 2, "two@customer.example", ("1rgABD-0001xz-2A",)),
        ("delayed", 3, "three@slow.example", ("1rgABE-00000001xz0-2B01",)),
    ]
    assert entries[0].diagnostic == "250 2.0.0 OK 1772625481 gsmtp"
    assert entries[1].diagnostic.endswith("550 5.1.1 user unknown")
    assert {entry.remote_server for entry in entries} == {"mx.customer.example", "mx.slow.example"}
    assert entries[0].at is None
    assert entries[1].at is not None
    assert entries[1].at.isoformat() == "2026-03-04T10:58:03+00:00"


@pytest.mark.parametrize("name", LOGS)
def test_the_format_is_told_by_the_form_of_a_line(name: str) -> None:
    """Whatever stands in the lines."""
    assert {format_of(line) for line in lines(name)} <= {name, None}
    assert format_of("2026-03-04 something else") is None


def test_a_recipient_cannot_write_a_line() -> None:
    """What a remote server says stands at the end, and for no other status or recipient."""
    log = PostfixLog()
    log.read(lines("postfix")[2])
    evil = "550 no) to=<x@y.example>, relay=z, dsn=2.0.0, status=sent (250 ok"
    line = (
        "Mar  4 11:58:01 mail postfix/smtp[813]: 4ZQ1aa0001: to=<one@customer.example>,"
        f" relay=mx[192.0.2.1]:25, delay=1, delays=0/0/0/1, dsn=5.0.0, status=bounced (host mx said: {evil})"
    )

    [entry] = log.read(line)

    assert (entry.kind, entry.recipient) == (FeedbackKind.BOUNCED, "one@customer.example")


def test_few_queue_ids_are_remembered() -> None:
    """A log that never says that a message left the queue takes no more memory than a bound."""
    log = PostfixLog(max_queued=2)
    first, sent = lines("postfix")[2], lines("postfix")[4]
    for number in range(1, 5):
        log.read(first.replace("0001", f"000{number}"))

    delivered = [log.read(sent.replace("0001", f"000{number}")) for number in (1, 4)]

    assert [len(entries) for entries in delivered] == [0, 1]


def test_what_is_known_of_forgotten_messages_is_forgotten() -> None:
    """Their delays, and the queue ids that follow in a log which is not read."""
    log = PostfixLog(max_queued=2)
    first, sent = lines("postfix")[2], lines("postfix")[4]
    filtered = re.sub(r"relay=[^,]*", "relay=127.0.0.1[127.0.0.1]:10024", sent)
    for number in range(1, 6):
        for line in (
            first,
            re.sub(r"status=.*", "status=deferred (busy)", sent),
            re.sub(r"status=.*", f"status=sent (250 2.0.0 Ok: queued as 5ABC0000{number})", filtered),
        ):
            log.read(line.replace("0001", f"000{number}"))
    assert (len(log._deferred), len(log._successors)) == (2, 2)


@given(st.sampled_from(sorted(LOGS)), st.lists(st.text(max_size=300), max_size=20))
def test_any_line_is_read(name: str, broken: list[str]) -> None:
    """Broken lines between good lines, and in them, raises nothing."""
    log = LOGS[name]()
    for good, bad in zip(lines(name), [*broken, *[""] * 40], strict=False):
        log.read(bad)
        log.read(good[: len(bad)] + bad)
        log.read(good)


@pytest.mark.parametrize(
    ("daemon", "text", "kinds"),
    [
        ("lmtp", "250 2.0.0 <zoe@example.org> 7vPk Saved", ["delivered"]),
        ("lmtp", "250 2.0.0 from MTA: 250 Ok: queued as 4ZQ1bb0009", []),
        ("smtp", "250 2.0.0 Ok", []),
    ],
)
def test_a_mailbox_server_on_this_host_delivers(daemon: str, text: str, kinds: list[str]) -> None:
    """Dovecot takes mail by LMTP, and so do content filters, which queue it again."""
    log = PostfixLog()
    log.read(
        f"2026-03-04T11:59:00.1+01:00 mail postfix/cleanup[1]: 4ZQ1aa0009: message-id=<{32 * 'a'}@a.example>"
    )
    entries = log.read(
        f"2026-03-04T11:59:00.3+01:00 mail postfix/{daemon}[2]: 4ZQ1aa0009: to=<zoe@example.org>,"
        f" relay=127.0.0.1[127.0.0.1]:24, delay=0.2, delays=0/0/0/0.2, dsn=2.0.0, status=sent ({text})"
    )
    assert [each.kind for each in entries] == kinds
