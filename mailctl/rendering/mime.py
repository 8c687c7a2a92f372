"""Encodes messages as bytes, and verifies that the bytes contain exactly the intended headers.

The standard library parses and refolds headers when it prints them, and what it accepts differs between patch
releases of Python. Nothing here parses or refolds.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.errors import RenderError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The longest allowed and recommended line, in octets without CRLF (RFC 5322 section 2.1.1).
MAX_LINE = 998
MAX_RECOMMENDED_LINE = 78
#: The longest encoded word, and header line that contains one, in characters (RFC 2047 section 2).
MAX_ENCODED_WORD = 75
MAX_ENCODED_WORD_LINE = 76

_WORD_FRAME = "=?utf-8?B?{}?="
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
#: Text that needs no encoding in a header: words separated by single spaces.
_PLAIN = re.compile(r"[!-~]+(?: [!-~]+)*")
#: A display name that needs no quotes (RFC 5322 section 3.2.3).
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
_HEADER_LINE = rb"(?:[A-Za-z][A-Za-z0-9-]*:)? [!-~][ -~]*"
_HEAD = re.compile(_HEADER_LINE + rb"(?:\r\n" + _HEADER_LINE + rb")*")
_FIELD_NAME = re.compile(rb"(?m)^[A-Za-z][A-Za-z0-9-]*(?=:)")
#: A sequence that occurs in no body part: neither quoted-printable nor base64 contains it (RFC 2045 section
#: 6.7, rule 1), and parts that do are not sent as 7bit.
_BOUNDARY_MARK = b"=_"
#: The octets that the lines of a message may contain, and a body that needs no encoding, whose line ends are
#: LF; a search with a regular expression takes 30 times as long.
_ALLOWED_IN_LINES = bytes([*b"\t", *range(0x20, 0x7F)])
_ALLOWED_IN_BODIES = _ALLOWED_IN_LINES + b"\n"


@dataclass(frozen=True)
class Header:
    """A header field; its value is printable ASCII, folded with CRLF and a space if it is long."""

    name: str
    value: str

    @classmethod
    def text(cls, name: str, text: str) -> Header:
        """Return a field of free text, such as Subject (RFC 5322 section 3.6.5, RFC 2047).

        Raises:
            RenderError: the text contains a control character or a lone surrogate.
        """
        if _needs_no_encoding(text) and len(name) + 2 + len(text) <= MAX_RECOMMENDED_LINE:
            return cls(name, text)
        return cls(name, _encoded_words(text, field=name))

    @classmethod
    def mailbox(cls, name: str, address: str, *, display_name: str = "") -> Header:
        """Return a field of exactly one mailbox (RFC 5322 section 3.4).

        Args:
            name: From or To.
            address: the validated address, ASCII.
            display_name: the display name; "" for none.

        Raises:
            RenderError: the display name contains a control character or a lone surrogate.
        """
        if not display_name:
            return cls(name, address)
        plain = f"{_quoted(display_name)} <{address}>"
        if _needs_no_encoding(display_name) and len(name) + 2 + len(plain) <= MAX_RECOMMENDED_LINE:
            return cls(name, plain)
        words = _encoded_words(display_name, field=name)
        fits = "\r\n" not in words and len(f"{name}: {words} <{address}>") <= MAX_ENCODED_WORD_LINE
        return cls(name, words + (" " if fits else "\r\n ") + f"<{address}>")


def _lines(headers: Sequence[Header]) -> bytes:
    """Return header fields as they are sent."""
    # "replace", so that no exception carries a value; `verify` refuses what is not ASCII.
    return "".join([f"{each.name}: {each.value}\r\n" for each in headers]).encode("ascii", "replace")


def digest(text: str) -> str:
    """Return a hash of a text as 32 hexadecimal characters."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def make_message_id(id: str, *, domain: str) -> str:
    """Return the Message-ID of an email with its brackets, the same for each attempt.

    Args:
        id: the email's id, which the Message-ID does not reveal.
        domain: the domain of the sender (RFC 5322 section 3.6.4).
    """
    return f"<{digest(id)}@{domain}>"


def build_multipart_alternative(headers: Sequence[Header], *, text: str, html: str) -> bytes:
    """Return a message with a plain-text and an HTML part, in this order (RFC 2046 section 5.1.4).

    Args:
        headers: the header fields in order, without Content-Type.
        text: the text/plain part, with any line ends.
        html: the text/html part, with any line ends.

    Returns:
        The verified message with CRLF line ends.

    Raises:
        RenderError: a part cannot be encoded, or the verification fails.
    """
    parts = [_part("plain", text), _part("html", html)]
    head = _lines(headers)
    boundary = _BOUNDARY_MARK.decode() + hashlib.sha256(head).hexdigest()[:24]
    content_type = Header("Content-Type", f'multipart/alternative; boundary="{boundary}"')
    delimiter = f"\r\n--{boundary}".encode()
    if any(boundary.encode() in part for part in parts):
        raise RenderError("The boundary between the parts of the message occurs inside one of them.")
    first, second = parts
    pieces = (head, _lines([content_type]), delimiter, b"\r\n", first, delimiter, b"\r\n", second, delimiter)
    data = b"".join((*pieces, b"--\r\n"))
    verify(data, names=[*(header.name for header in headers), content_type.name])
    return data


def verify(data: bytes, *, names: Sequence[str]) -> None:
    """Verify that a message has exactly these header fields and nothing that a mail server may reinterpret.

    Args:
        data: the complete message.
        names: the names of the header fields, in order.

    Raises:
        RenderError: there is another header field, a bare CR or LF, a byte that is not printable ASCII, or a
            line that is too long (RFC 5322 section 2.1.1).
    """
    head = data.partition(b"\r\n\r\n")[0]
    if not _HEAD.fullmatch(head):
        raise RenderError("The message has a line in its header that is not a header field.")
    if b"\n".join(_FIELD_NAME.findall(head)).decode() != "\n".join(names):
        raise RenderError("The message does not have exactly the intended header fields.")
    # Nothing but the line ends is left.
    if data.translate(None, _ALLOWED_IN_LINES) != b"\r\n" * data.count(b"\r\n"):
        raise RenderError("The message contains a bare CR or LF, or a byte that is not printable ASCII.")
    if _has_long_line(data, line_end=b"\r\n"):
        raise RenderError(f"The message has a line of more than {MAX_LINE} octets.")


def _has_long_line(data: bytes, *, line_end: bytes) -> bool:
    """Whether a line is longer than `MAX_LINE`; splitting all lines would take three times as long."""
    start = 0
    while len(data) - start > MAX_LINE:
        end = data.rfind(line_end, start, start + MAX_LINE + len(line_end))
        if end < 0:
            return True
        start = end + len(line_end)
    return False


def _needs_no_encoding(text: str) -> bool:
    return _PLAIN.fullmatch(text) is not None and "=?" not in text


def _quoted(display_name: str) -> str:
    if _ATOMS.fullmatch(display_name):
        return display_name
    escaped = display_name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _encoded_words(text: str, *, field: str) -> str:
    """Return a text as encoded words (RFC 2047), splitting no character."""
    if _CONTROL.search(text):
        raise RenderError(f"{field}: the text for this header contains a control character.")
    chunks, chunk = [], b""
    room = _octets_in_word(MAX_ENCODED_WORD_LINE - len(field) - 2)
    for char in text:
        octets = _octets(char)
        if len(chunk) + len(octets) > room:
            chunks.append(chunk)
            chunk, room = b"", _octets_in_word(MAX_ENCODED_WORD)
        chunk += octets
    return "\r\n ".join(_WORD_FRAME.format(base64.b64encode(each).decode()) for each in [*chunks, chunk])


def _octets_in_word(length: int) -> int:
    return (length - len(_WORD_FRAME.format(""))) // 4 * 3


def _part(subtype: str, body: str) -> bytes:
    encoding, encoded = _encoded(_octets(body.replace("\r\n", "\n").replace("\r", "\n")))
    headers = [
        Header("Content-Type", f"text/{subtype}; charset=utf-8"),
        Header("Content-Transfer-Encoding", encoding),
    ]
    return _lines(headers) + b"\r\n" + encoded.replace(b"\n", b"\r\n")


def _encoded(lines: bytes) -> tuple[str, bytes]:
    """Return the name of the transfer encoding of a body, and the encoded body (RFC 2045 section 6)."""
    is_plain = not lines.translate(None, _ALLOWED_IN_BODIES) and _BOUNDARY_MARK not in lines
    if is_plain and not _has_long_line(lines, line_end=b"\n"):
        return "7bit", lines
    quoted = binascii.b2a_qp(lines, istext=True)
    if len(quoted) <= _base64_size(len(lines) + lines.count(b"\n")):
        return "quoted-printable", quoted
    return "base64", base64.encodebytes(lines.replace(b"\n", b"\r\n"))


def _base64_size(octets: int) -> int:
    """Return the length of octets in base64, in lines of 76 characters for 57 octets each."""
    return -(-octets // 3) * 4 + -(-octets // 57)


def _octets(text: str) -> bytes:
    try:
        octets = text.encode()
    except UnicodeEncodeError:
        raise RenderError("The message contains a lone surrogate.") from None
    if b"\0" in octets:
        raise RenderError("The message contains a NUL character.")
    return octets
