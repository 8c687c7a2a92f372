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

from mailctl.diagnosis.status import StatusService
from mailctl.domain.models import State
from mailctl.errors import ContentDeleted, NotFound
from mailctl.rendering.html_text import html_to_text
from mailctl.security.content_masking import SecretMasker
from mailctl.shell_command import mailctl_command

if TYPE_CHECKING:
    from email.message import EmailMessage

    from mailctl.domain.models import Content, Email
    from mailctl.runtime import Runtime

#: Headers stay as they were written.
_POLICY = policy.SMTP.clone(refold_source="none", utf8=False)


class MessageSource(StrEnum):
    """Where what is shown comes from."""

    COMPOSED = "composed"  #: made now, of what the log keeps of an email that was not delivered
    FILE = "file"  #: what was captured
    LOG = "log"  #: the content is forgotten; only what the log keeps for good


@dataclass(frozen=True, kw_only=True)
class MessageDetails:
    """What can be seen of an email."""

    email: Email
    source: MessageSource
    #: Why there is no more, or what to know about it.
    note: str
    headers: tuple[tuple[str, str], ...]
    text: str | None = None
    #: The HTML part as text.
    html_as_text: str | None = None
    #: The whole message (RFC 5322); None where the content is forgotten.
    raw: bytes | None = None

    @property
    def html_source(self) -> str:
        """The HTML part as it is; "" where there is none."""
        return _body(BytesParser(policy=_POLICY).parsebytes(self.raw), "html") if self.raw else ""


class MessageViewer:
    """Shows emails.

    Args:
        runtime: the parts of this process.
        reveals: whether links and tokens are shown as they are.
    """

    def __init__(self, runtime: Runtime, *, reveals: bool) -> None:
        self._runtime = runtime
        self._reveals = reveals

    def show(self, prefix: str) -> MessageDetails:
        """Return what can be seen of the email whose id is or starts with `prefix`.

        Raises:
            NotFound: the log does not know it.
            InvalidInput: several ids start with it, or what it is made of can not be used.
            RenderError: its template cannot be rendered.
            ConfigurationError: its content was sealed with another SECRET_KEY.
            LogUnavailable: the delivery log cannot be read.
        """
        email = StatusService(self._runtime).find_email(prefix)
        if email is None:
            raise NotFound(
                f"The delivery log knows no email {prefix}.",
                fix=f"Ask Celery, too: {mailctl_command('status', arguments=[prefix])}",
            )
        content = self._runtime.outbox.content(email.id)
        if content is not None:
            return self._from_content(email, content)
        if email.state is State.CAPTURED and (path := self._file_of(email)):
            note = f"Read from {path}."
            return self._make_details(email, MessageSource.FILE, path.read_bytes(), SecretMasker(), note=note)
        return self._from_log(email)

    def raw(self, prefix: str) -> tuple[MessageDetails, bytes]:
        """Return what can be seen of an email, and its whole message.

        Raises:
            ContentForgotten: there is none any more; else as `show`.
        """
        exhibit = self.show(prefix)
        if exhibit.raw is None:
            rest = mailctl_command("show", arguments=[exhibit.email.id])
            raise ContentDeleted(exhibit.note, fix=f"See what is known: {rest}")
        return exhibit, exhibit.raw

    def _from_content(self, email: Email, content: Content) -> MessageDetails:
        now = datetime.now(UTC)
        composing = self._runtime.composer.compose(
            id=email.id, kind=email.kind, content=content, created_at=email.created_at, now=now
        )
        envelope = asyncio.run(composing)
        veil = SecretMasker(content, envelope.links.values())
        note = "It has not been delivered: composed just now, its links minted anew, as at each attempt."
        return self._make_details(email, MessageSource.COMPOSED, envelope.data, veil, note=note)

    def _make_details(
        self, email: Email, source: MessageSource, data: bytes, veil: SecretMasker, *, note: str
    ) -> MessageDetails:
        message = BytesParser(policy=_POLICY).parsebytes(data)
        if not self._reveals:
            _mask(message, veil)
            data = message.as_bytes()
        return MessageDetails(
            email=email,
            source=source,
            note=note,
            headers=tuple((name, _printable(str(value))) for name, value in message.items()),
            text=_printable(_body(message, "plain")),
            html_as_text=_printable(html_to_text(_body(message, "html"))),
            raw=data,
        )

    def _from_log(self, email: Email) -> MessageDetails:
        when = f"when it was delivered ({email.state})" if email.is_delivered else "by `mailctl prune`"
        known = [
            ("To", email.to),
            ("Subject", self._subject(email)),
            ("Date", format_datetime(email.sent_at) if email.sent_at else ""),
            ("Message-ID", email.message_id or ""),
        ]
        return MessageDetails(
            email=email,
            source=MessageSource.LOG,
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
        path = self._runtime.settings.mailctl_home.absolute() / "mail" / Path(email.captured_file or "").name
        return path if path.is_file() else None


def _mask(message: EmailMessage, veil: SecretMasker) -> None:
    subject = str(message.get("Subject", ""))
    if (covered := veil.mask(subject)) != subject:
        message.replace_header("Subject", covered)
    for part in message.walk():
        if part.get_content_maintype() == "text":
            body = veil.mask(part.get_content())
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
