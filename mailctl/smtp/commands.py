"""The commands of a transaction and the message as octets on the wire (RFC 5321)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

DATA_COMMAND = b"DATA\r\n"
#: A plain address; anything else could add parameters or another recipient to the command.
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9._-]{1,255}")
_LINE_END = re.compile(rb"\r\n|\n|\r")


def mail_command(sender: str, *, size: int, extensions: Collection[str], envelope_id: str = "") -> bytes:
    """Return the MAIL command.

    Args:
        sender: the envelope sender.
        size: the size of the message in octets (RFC 1870).
        extensions: the extensions that the server offers, in lower case.
        envelope_id: what delivery status notifications return (RFC 3461 section 4.4), letters and digits
            only; "" asks for none.

    Raises:
        ValueError: the sender is not one plain address.
    """
    options = b" SIZE=%d" % size if "size" in extensions else b""
    if "8bitmime" in extensions:
        options += b" BODY=8BITMIME"
    if envelope_id and "dsn" in extensions:
        # Only the headers come back (RFC 3461 section 4.3): the body has links that grant access.
        options += b" RET=HDRS ENVID=" + envelope_id.encode("ascii")
    return b"MAIL FROM:" + _path(sender) + options + b"\r\n"


def rcpt_command(recipient: str, *, extensions: Collection[str] = (), notify: str = "") -> bytes:
    """Return the RCPT command.

    Args:
        recipient: the recipient.
        extensions: the extensions that the server offers, in lower case.
        notify: when a delivery status notification is wanted, such as FAILURE,DELAY (RFC 3461 section
            4.1); "" asks for none.

    Raises:
        ValueError: the recipient is not one plain address.
    """
    options = b""
    if notify and "dsn" in extensions:
        options = b" NOTIFY=" + notify.encode("ascii") + b" ORCPT=rfc822;" + _xtext(recipient)
    return b"RCPT TO:" + _path(recipient) + options + b"\r\n"


def with_crlf(data: bytes) -> bytes:
    """Return a message with CRLF line ends only.

    A bare CR or LF could end it early, and smuggle in another (RFC 5321 section 2.3.8).
    """
    rest = data.replace(b"\r\n", b"")
    if b"\r" in rest or b"\n" in rest:
        data = _LINE_END.sub(b"\r\n", data)
    return data if data.endswith(b"\r\n") else data + b"\r\n"


def dot_stuff(lines: bytes) -> bytes:
    """Return a message with its leading dots doubled and the end marker added (RFC 5321 section 4.5.2).

    Args:
        lines: the message; each of its lines ends with CRLF.
    """
    if lines.startswith(b".") or b"\n." in lines:
        lines = (b"\r\n" + lines).replace(b"\r\n.", b"\r\n..")[2:]
    return lines + b".\r\n"


def _xtext(text: str) -> bytes:
    """Return a text as xtext (RFC 3461 section 4)."""
    return re.sub(r"[+=]", lambda found: f"+{ord(found[0]):02X}", text).encode("ascii", "replace")


def _path(address: str) -> bytes:
    if not _ADDRESS.fullmatch(address):
        raise ValueError("not one plain address")  # without the address: this text may be logged
    return b"<" + address.encode("ascii") + b">"
