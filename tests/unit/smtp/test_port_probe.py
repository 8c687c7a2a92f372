"""What a port speaks, by what its server says first."""

from __future__ import annotations

import pytest

from mailctl.smtp.port_probe import _protocol_of


@pytest.mark.parametrize(
    ("greeting", "protocol"),
    [
        ("220 mx.example.com ESMTP\r\n", "SMTP"),
        ("220-mx.example.com\r\n220 ready\r\n", "SMTP"),
        ("* OK IMAP4rev1 ready\r\n", "IMAP"),
        ("+OK POP3 ready\r\n", "POP3"),
        ("HTTP/1.0 400 Bad Request\r\n", "HTTP"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
        ("", None),
        ("hello", None),
    ],
)
def test_a_greeting_tells_the_protocol(greeting: str, protocol: str | None) -> None:
    """None for a server that says nothing known."""
    assert _protocol_of(greeting) == protocol
