"""A received message, parsed as far as it can be: mail from strangers is often broken."""

from __future__ import annotations

import binascii
import email
import quopri
import re
from dataclasses import dataclass
from email.errors import MessageError, MissingHeaderBodySeparatorDefect
from email.header import decode_header
from email.message import Message
from email.policy import Compat32
from email.utils import getaddresses
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.policy import Policy

#: Octets of a message, at most; larger ones are refused.
MAX_OCTETS = 20 * 1024 * 1024
#: Octets that are read: reports come before the message that they return.
_MAX_READ_OCTETS = 512 * 1024
#: The maximum number of lines that are read, which most messages do not reach, because their lines are far
#: longer: each line costs time on each level of nesting.
_MAX_LINES = 20_000
_LINE_END = re.compile(rb"\r\n?|\n")
#: Characters of text that are looked at.
_MAX_TEXT = 64 * 1024
#: Characters of the value of a field that are looked at: searching one may take quadratic time.
_MAX_VALUE = 2_000
#: The maximum number of parts of a message; each recipient of a report counts as a part. Each level of
#: nesting costs time for each line.
_MAX_PARTS = 150
_TAG = re.compile(r"<[^<>]{0,2000}>")
#: The type of an address, a host or a diagnostic, one word (RFC 3464 section 2.1.2).
_TYPE = re.compile(r"\A[\w.-]+\s*;\s*")
_SOFT_BREAK = re.compile(r"=\r?\n")
_STATUS_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
_RETURNED_TYPES = frozenset(
    {"message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers"}
)


class UnreadableMail(Exception):
    """A message that cannot be parsed at all."""


class _BoundedFields(Compat32):
    """The policy `compat32` with truncated values of fields."""

    @override
    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value[:_MAX_VALUE]


_POLICY = _BoundedFields()


class _PartCounter:
    """Creates the parts of one message, and refuses too many."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, policy: Policy[Message] = _POLICY) -> Message:
        self._count += 1
        if self._count > _MAX_PARTS:
            raise UnreadableMail("too many parts")
        return Message(policy)


@dataclass(frozen=True)
class FieldGroup:
    """The fields of one part of a report, by name in lower case; of repeated ones, the last."""

    fields: dict[str, str]

    def get(self, name: str) -> str:
        """Return the value of a field without its type such as `rfc822;`; "" if there is none."""
        value = self.fields.get(name, "").strip()
        return _TYPE.sub("", value, count=1)

    def raw(self, name: str) -> str:
        """Return the whole value of a field; "" if there is none."""
        return self.fields.get(name, "").strip()


class ReceivedMail:
    """A message that came in by mail.

    Args:
        data: the message as it came (RFC 5322).

    Raises:
        UnreadableMail: it cannot be parsed.
    """

    def __init__(self, data: bytes) -> None:
        data = _without_envelope_line(_beginning(data))
        try:
            self._message: Message = email.message_from_bytes(data, _PartCounter(), policy=_POLICY)
            self._parts = list(self._message.walk())
        except (RecursionError, MessageError, ValueError, LookupError, TypeError) as error:
            raise UnreadableMail(type(error).__name__) from None
        #: The message as text, in which what quoted-printable breaks is joined.
        self.raw = _SOFT_BREAK.sub("", data.decode("utf-8", "replace"))

    def header(self, name: str) -> str:
        """Return a header of the message on one line, decoded as far as possible; "" if there is none."""
        return _decoded(self._message.get(name))

    def addresses(self, name: str) -> list[str]:
        """Return the addresses in a header of the message."""
        values = [_decoded(value) for value in self._message.get_all(name, [])]
        return [address for _, address in getaddresses(values[:20]) if "@" in address]

    @property
    def has_null_sender(self) -> bool:
        """Whether the envelope sender, as a mail server has noted it, is empty (RFC 5321 section 4.5.5)."""
        return self._message.get("Return-Path") is not None and self.header("Return-Path") in ("<>", "")

    @cached_property
    def report_type(self) -> str:
        """The kind of report that the message claims to be (RFC 6522); "" if none."""
        for part in self._parts:
            if part.get_content_type() == "multipart/report":
                return str(part.get_param("report-type", "")).lower()
        return ""

    @cached_property
    def status_groups(self) -> list[FieldGroup]:
        """The groups of fields of a delivery status notification: of the message, then of each recipient."""
        found = next((part for part in self._parts if part.get_content_type() in _STATUS_TYPES), None)
        return [] if found is None else list(_groups(found))

    @cached_property
    def feedback_group(self) -> FieldGroup | None:
        """The fields of an abuse report (RFC 5965); None if there are none."""
        for part in self._parts:
            if part.get_content_type() == "message/feedback-report":
                groups = list(_groups(part))
                return groups[0] if groups else FieldGroup({})
        return None

    @cached_property
    def returned(self) -> FieldGroup | None:
        """The headers of the message that is returned; None if no part is one."""
        types = [part.get_content_type() for part in self._parts]
        # A report may itself be forwarded as a message: what it returns comes after its status.
        reports = [place for place, kind in enumerate(types) if kind in _STATUS_TYPES]
        after = reports[0] if reports else 0
        found = (place for place, kind in enumerate(types) if kind in _RETURNED_TYPES and place >= after)
        place = next(found, None)
        return None if place is None else FieldGroup(_headers_of(self._parts[place]))

    @cached_property
    def text(self) -> str:
        """The text of the message, without that of a returned message."""
        texts = [_text_of(part) for part in self._readable_parts()]
        return "\n".join(texts)[:_MAX_TEXT]

    def _readable_parts(self) -> Iterator[Message]:
        for part in self._parts:
            kind = part.get_content_type()
            if kind in _RETURNED_TYPES and part is not self._message:
                return
            if kind in ("text/plain", "text/html") and not part.is_multipart():
                yield part


def _beginning(data: bytes) -> bytes:
    """Return as much of a message as is read."""
    data = data[:_MAX_READ_OCTETS]
    end = next(islice(_LINE_END.finditer(data), _MAX_LINES - 1, None), None)
    return data if end is None else data[: end.start()]


def _without_envelope_line(data: bytes) -> bytes:
    """Return a message without the line that mbox files and pipes put before it."""
    return data.partition(b"\n")[2] if data.startswith((b"From ", b">From ")) else data.lstrip(b"\r\n")


def _groups(part: Message) -> Iterator[FieldGroup]:
    for block in re.split(r"\r?\n[ \t]*(?:\r?\n)+", _flat_text(part).strip()):
        if fields := _fields_of(block):
            yield FieldGroup(fields)


def _headers_of(part: Message) -> dict[str, str]:
    return _fields_of(re.split(r"\r?\n\r?\n", _flat_text(part).lstrip("\r\n"), maxsplit=1)[0])


def _flat_text(part: Message) -> str:
    """Return the content of a part as it was written, although the parser takes it for messages."""
    payload = part.get_payload()
    if not isinstance(payload, list):
        raw = part.get_payload(decode=True)
        return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(payload)
    text = "\n\n".join(_flat_message(each) for each in payload if not isinstance(each, str))
    encoding = str(part.get("Content-Transfer-Encoding", "")).strip().lower()
    # Not allowed for such parts, and still done.
    raw = text.strip().encode("ascii", "replace")
    try:
        if encoding == "base64":
            return binascii.a2b_base64(raw).decode("utf-8", "replace")
    except binascii.Error:
        return text
    return quopri.decodestring(raw).decode("utf-8", "replace") if encoding == "quoted-printable" else text


def _flat_message(message: Message) -> str:
    headers = "\n".join(f"{name}: {_decoded(value)}" for name, value in message.items())
    payload = message.get_payload()
    body = payload if isinstance(payload, str) else ""
    # Without an empty line, the parser has met one that is no field, such as the rest of a broken line.
    is_one_block = any(isinstance(each, MissingHeaderBodySeparatorDefect) for each in message.defects)
    between = "\n" if is_one_block else "\n\n"
    return f"{headers}{between}{body}" if headers else body


def _fields_of(block: str) -> dict[str, str]:
    unfolded = re.sub(r"\r?\n[ \t]+", " ", block)
    found = (line.partition(":") for line in unfolded.splitlines() if ":" in line)
    return {
        name.strip().lower(): value.strip()[:_MAX_VALUE]
        for name, _, value in found
        if re.fullmatch(r"[\w-]+", name.strip())
    }


def _text_of(part: Message) -> str:
    raw = part.get_payload(decode=True)
    if not isinstance(raw, bytes):
        return ""
    # Some codecs of Python take quadratic time.
    raw = raw[: 2 * _MAX_TEXT]
    charset = part.get_content_charset() or "utf-8"
    try:
        text = raw.decode(charset, "replace")
    except (LookupError, ValueError):
        text = raw.decode("utf-8", "replace")
    return _TAG.sub(" ", text) if part.get_content_type() == "text/html" else text


def _decoded(value: object) -> str:
    """Return the value of a header as one line of text."""
    if value is None:
        return ""
    try:
        parts = [
            part.decode(charset or "ascii", "replace") if isinstance(part, bytes) else part
            for part, charset in decode_header(str(value))
        ]
    except (LookupError, ValueError, MessageError):
        parts = [str(value)]
    return " ".join("".join(parts).split())
