"""Messages as bytes: encoded headers, body parts, and proof that the bytes say what was meant.

The standard library parses and refolds the headers that it prints, and what it lets through differs between
patch releases of Python. Nothing here parses or refolds.
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

#: Octets of a line without its CRLF: what must be, and what should be (RFC 5322 section 2.1.1).
MAX_LINE = 998
MAX_RECOMMENDED_LINE = 78
#: Characters of an encoded word, and of a header line that holds one (RFC 2047 section 2).
MAX_ENCODED_WORD = 75
MAX_ENCODED_WORD_LINE = 76

_WORD_FRAME = "=?utf-8?B?{}?="
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
#: Text that means itself in a header: words with one space between them.
_PLAIN = re.compile(r"[!-~]+(?: [!-~]+)*")
#: Words that need no quotes before an address (RFC 5322 section 3.2.3).
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
_HEADER_LINE = rb"(?:[A-Za-z][A-Za-z0-9-]*:)? [!-~][ -~]*"
_HEAD = re.compile(_HEADER_LINE + rb"(?:\r\n" + _HEADER_LINE + rb")*")
_FIELD_NAME = re.compile(rb"(?m)^[A-Za-z][A-Za-z0-9-]*(?=:)")
#: Occurs neither in quoted-printable nor in base64 (RFC 2045 section 6.7, rule 1), nor in plain parts.
_BOUNDARY_MARK = b"=_"
#: Octets that a message may hold; searching with an expression takes 30 times as long.
_ALLOWED_OCTETS = bytes([*b"\t\r\n", *range(0x20, 0x7F)])


@dataclass(frozen=True)
class Header:
    """A header field; its value is printable ASCII, folded with CRLF and a space where it is long."""

    name: str
    value: str

    @classmethod
    def text(cls, name: str, text: str) -> Header:
        """Return a field of free text, such as Subject (RFC 5322 section 3.6.5, RFC 2047).

        Raises:
            RenderError: the text holds a control character or half a character.
        """
        if _needs_no_encoding(text) and len(name) + 2 + len(text) <= MAX_RECOMMENDED_LINE:
            return cls(name, text)
        return cls(name, _encoded_words(text, field=name))

    @classmethod
    def mailbox(cls, name: str, address: str, *, display_name: str = "") -> Header:
        """Return a field of exactly one mailbox (RFC 5322 section 3.4).

        Args:
            name: From or To.
            address: ASCII, already validated.
            display_name: the name before it; "" for the bare address.

        Raises:
            RenderError: the display name holds a control character or half a character.
        """
        if not display_name:
            return cls(name, address)
        plain = f"{_quoted(display_name)} <{address}>"
        if _needs_no_encoding(display_name) and len(name) + 2 + len(plain) <= MAX_RECOMMENDED_LINE:
            return cls(name, plain)
        words = _encoded_words(display_name, field=name)
        fits = "\r\n" not in words and len(f"{name}: {words} <{address}>") <= MAX_ENCODED_WORD_LINE
        return cls(name, words + (" " if fits else "\r\n ") + f"<{address}>")

    def __bytes__(self) -> bytes:
        # An odd character shows up as "?" or is refused by `verify`; it never raises with its value in hand.
        return f"{self.name}: {self.value}\r\n".encode("ascii", "replace")


def digest(text: str) -> str:
    """Return 32 hexadecimal characters that stand for the text, always the same ones."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def make_message_id(id: str, *, domain: str) -> str:
    """Return the Message-ID of an email, with its brackets: the same however often it is composed.

    Args:
        id: the email's id; it cannot be read back from the result.
        domain: the sender's (RFC 5322 section 3.6.4).
    """
    return f"<{digest(id)}@{domain}>"


def build_multipart_alternative(headers: Sequence[Header], *, text: str, html: str) -> bytes:
    """Return a whole message of two parts, the plain one first (RFC 2046 section 5.1.4).

    Args:
        headers: all of the message's but Content-Type, in order.
        text: the text/plain part; any kind of line end.
        html: the text/html part; any kind of line end.

    Returns:
        The message with CRLF line ends, verified.

    Raises:
        RenderError: a part cannot be written, or the bytes are not the message that was meant.
    """
    parts = [_part("plain", text), _part("html", html)]
    head = b"".join(map(bytes, headers))
    boundary = _BOUNDARY_MARK.decode() + hashlib.sha256(head).hexdigest()[:24]
    content_type = Header("Content-Type", f'multipart/alternative; boundary="{boundary}"')
    delimiter = f"\r\n--{boundary}".encode()
    if any(boundary.encode() in part for part in parts):
        raise RenderError("The boundary between the parts of the message occurs inside one of them.")
    first, second = parts
    pieces = (head, bytes(content_type), delimiter, b"\r\n", first, delimiter, b"\r\n", second, delimiter)
    data = b"".join((*pieces, b"--\r\n"))
    verify(data, names=[*(header.name for header in headers), content_type.name])
    return data


def verify(data: bytes, *, names: Sequence[str]) -> None:
    """Prove that a message has exactly these header fields and nothing that a mail server may reinterpret.

    Args:
        data: the whole message.
        names: of the header fields, each once, in order.

    Raises:
        RenderError: another header field, a bare CR or LF, a byte that is not printable ASCII, or a line that
            is too long (RFC 5322 section 2.1.1).
    """
    head = data.partition(b"\r\n\r\n")[0]
    if not _HEAD.fullmatch(head):
        raise RenderError("The message has a line in its header that is not a header field.")
    if b"\n".join(_FIELD_NAME.findall(head)).decode() != "\n".join(names):
        raise RenderError("The message has other header fields than were meant.")
    if has_bare_line_ends(data) or data.translate(None, _ALLOWED_OCTETS):
        raise RenderError("The message holds a bare CR or LF, or a byte that is not printable ASCII.")
    if max(map(len, data.split(b"\r\n"))) > MAX_LINE:
        raise RenderError(f"The message has a line of more than {MAX_LINE} octets.")


def has_bare_line_ends(data: bytes) -> bool:
    """Whether a CR or LF stands alone: it could smuggle a second message in (RFC 5321 section 2.3.8)."""
    # Counting them takes four times as long.
    between = data.replace(b"\r\n", b"")
    return b"\r" in between or b"\n" in between


def _needs_no_encoding(text: str) -> bool:
    return _PLAIN.fullmatch(text) is not None and "=?" not in text


def _quoted(display_name: str) -> str:
    if _ATOMS.fullmatch(display_name):
        return display_name
    escaped = display_name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _encoded_words(text: str, *, field: str) -> str:
    """Encode as RFC 2047 words, no character torn in two."""
    if _CONTROL.search(text):
        raise RenderError(f"{field}: the text for this header holds a control character.")
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
    return b"".join(map(bytes, headers)) + b"\r\n" + encoded.replace(b"\n", b"\r\n")


def _encoded(lines: bytes) -> tuple[str, bytes]:
    """Return a body as it goes out, and the name of its encoding (RFC 2045 section 6)."""
    is_plain = not lines.translate(None, _ALLOWED_OCTETS) and _BOUNDARY_MARK not in lines
    if is_plain and max(map(len, lines.split(b"\n"))) <= MAX_LINE:
        return "7bit", lines
    quoted = binascii.b2a_qp(lines, istext=True)
    if len(quoted) <= _base64_size(len(lines) + lines.count(b"\n")):
        return "quoted-printable", quoted
    return "base64", base64.encodebytes(lines.replace(b"\n", b"\r\n"))


def _base64_size(octets: int) -> int:
    """Return how long so many octets are in base64, in lines of 76 that stand for 57 octets each."""
    return -(-octets // 3) * 4 + -(-octets // 57)


def _octets(text: str) -> bytes:
    try:
        octets = text.encode()
    except UnicodeEncodeError:
        raise RenderError("The message holds half of a character (a lone surrogate).") from None
    if b"\0" in octets:
        raise RenderError("The message holds a NUL character.")
    return octets
