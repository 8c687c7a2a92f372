"""An email as it is: its headers and words, composed now, or from the file that it was written to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from email import policy
from email.parser import BytesParser
from email.utils import format_datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from mailctl.command import mailctl
from mailctl.diagnosis.status import Inquiry
from mailctl.domain.models import State
from mailctl.errors import ContentForgotten, NotFound
from mailctl.rendering.html_text import as_text
from mailctl.security.content_masking import Veil

if TYPE_CHECKING:
    from email.message import EmailMessage

    from mailctl.domain.models import Content, Email
    from mailctl.runtime import Runtime

#: Headers stay as they were written.
_POLICY = policy.SMTP.clone(refold_source="none", utf8=False)


class Source(StrEnum):
    """Where what is shown comes from."""

    COMPOSED = "composed"  #: made now, of what the log keeps of an email that was not delivered
    FILE = "file"  #: what was captured
    LOG = "log"  #: the content is forgotten; only what the log keeps for good


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """What can be seen of an email."""

    email: Email
    source: Source
    #: Why there is no more, or what to know about it.
    note: str
    headers: tuple[tuple[str, str], ...]
    text: str | None = None
    #: The HTML part as text.
    html: str | None = None
    #: The whole message (RFC 5322); None where the content is forgotten.
    raw: bytes | None = None

    @property
    def page(self) -> str:
        """The HTML part as it is; "" where there is none."""
        return _body(BytesParser(policy=_POLICY).parsebytes(self.raw), "html") if self.raw else ""


class Exhibition:
    """Shows emails.

    Args:
        runtime: the parts of this process.
        reveals: whether links and tokens are shown as they are.
    """

    def __init__(self, runtime: Runtime, *, reveals: bool) -> None:
        self._runtime = runtime
        self._reveals = reveals

    def show(self, prefix: str) -> Exhibit:
        """Return what can be seen of the email whose id is or starts with `prefix`.

        Raises:
            NotFound: the log does not know it.
            InvalidInput: several ids start with it, or what it is made of can not be used.
            RenderError: its template cannot be rendered.
            ConfigurationError: its content was sealed with another SECRET_KEY.
            LogUnavailable: the delivery log cannot be read.
        """
        email = Inquiry(self._runtime).email(prefix)
        if email is None:
            raise NotFound(
                f"The delivery log knows no email {prefix}.",
                fix=f"Ask Celery, too: {mailctl('status', arguments=[prefix])}",
            )
        content = self._runtime.outbox.content(email.id)
        if content is not None:
            return self._composed(email, content)
        if email.state is State.CAPTURED and (path := self._file_of(email)):
            note = f"Read from {path}."
            return self._exhibit(email, Source.FILE, path.read_bytes(), Veil(), note=note)
        return self._remembered(email)

    def raw(self, prefix: str) -> tuple[Exhibit, bytes]:
        """Return what can be seen of an email, and its whole message.

        Raises:
            ContentForgotten: there is none any more; else as `show`.
        """
        exhibit = self.show(prefix)
        if exhibit.raw is None:
            rest = mailctl("show", arguments=[exhibit.email.id])
            raise ContentForgotten(exhibit.note, fix=f"See what is known: {rest}")
        return exhibit, exhibit.raw

    def _composed(self, email: Email, content: Content) -> Exhibit:
        now = datetime.now(UTC)
        composing = self._runtime.composer.compose(
            id=email.id, kind=email.kind, content=content, created_at=email.created_at, now=now
        )
        envelope = asyncio.run(composing)
        veil = Veil(content, envelope.links.values())
        note = "It has not been delivered: composed just now, its links minted anew, as at each attempt."
        return self._exhibit(email, Source.COMPOSED, envelope.data, veil, note=note)

    def _exhibit(self, email: Email, source: Source, data: bytes, veil: Veil, *, note: str) -> Exhibit:
        message = BytesParser(policy=_POLICY).parsebytes(data)
        if not self._reveals:
            _cover(message, veil)
            data = message.as_bytes()
        return Exhibit(
            email=email,
            source=source,
            note=note,
            headers=tuple((name, _printable(str(value))) for name, value in message.items()),
            text=_printable(_body(message, "plain")),
            html=_printable(as_text(_body(message, "html"))),
            raw=data,
        )

    def _remembered(self, email: Email) -> Exhibit:
        when = f"when it was delivered ({email.state})" if email.is_delivered else "by `mailctl prune`"
        known = [
            ("To", email.to),
            ("Subject", self._subject(email)),
            ("Date", format_datetime(email.sent_at) if email.sent_at else ""),
            ("Message-ID", email.message_id or ""),
        ]
        return Exhibit(
            email=email,
            source=Source.LOG,
            note=f"Its content was forgotten {when}; this is what the log still knows.",
            headers=tuple((name, value) for name, value in known if value),
        )

    def _subject(self, email: Email) -> str:
        kind = self._runtime.catalog.find(email.kind)
        # What it would print besides is forgotten with the content.
        if kind is None or kind.subject is None or kind.subject_variables:
            return ""
        return kind.subject_line(self._runtime.settings.project_name, {})

    def _file_of(self, email: Email) -> Path | None:
        """Return the file that an email was written to, if it is there: only in the one folder for them."""
        path = self._runtime.settings.mailctl_home.absolute() / "mail" / Path(email.reply.text).name
        return path if path.is_file() else None


def _cover(message: EmailMessage, veil: Veil) -> None:
    subject = str(message.get("Subject", ""))
    if (covered := veil.cover(subject)) != subject:
        message.replace_header("Subject", covered)
    for part in message.walk():
        if part.get_content_maintype() == "text":
            body = veil.cover(part.get_content())
            part.set_content(body, subtype=part.get_content_subtype(), charset="utf-8")


def _body(message: EmailMessage, subtype: str) -> str:
    part = message.get_body((subtype,))
    return str(part.get_content()) if part is not None else ""


def _printable(text: str) -> str:
    """Return a text that does nothing to a terminal."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(
        "".join(c if c.isprintable() or c == "\t" else " " for c in line) for line in lines
    ).rstrip()
