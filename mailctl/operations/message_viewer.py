"""The message viewer: headers and text of an email, composed now or read from its captured file."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from email import policy
from email.parser import BytesParser
from email.utils import format_datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from mailctl.broker.unvalidated import validated_content
from mailctl.diagnosis.status import StatusService
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.shell_command import mailctl_command
from mailctl.domain.states import State
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.errors import ConfigurationError, ContentDeleted, InvalidInput, MailctlError, NotFound
from mailctl.rendering.html_text import html_to_text
from mailctl.security.content_masking import SecretMasker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage

    from mailctl.domain.models import Content, Email, Json
    from mailctl.runtime import Runtime

#: Keeps headers as they were written.
_POLICY = policy.SMTP.clone(refold_source="none", utf8=False)


class MessageSource(StrEnum):
    """Where a message comes from."""

    COMPOSED = "composed"  #: composed now, from the content of an unsent email
    FILE = "file"  #: the file that the email was captured to
    ARGUMENTS = "arguments"  #: the arguments of a message that fails validation
    LOG = "log"  #: the content was deleted, or the service composes it; only the metadata of the log is shown


@dataclass(frozen=True, kw_only=True)
class MessageDetails:
    """The message of an email, as far as it is still known."""

    email: Email
    source: MessageSource
    #: One sentence about the source, or about what is missing.
    note: str
    headers: tuple[tuple[str, str], ...]
    text: str | None = None
    #: The HTML part, rendered as text.
    html_as_text: str | None = None
    #: The whole message (RFC 5322); None if the content was deleted.
    raw: bytes | None = None

    @property
    def html_source(self) -> str:
        """The source of the HTML part; "" if there is none."""
        return _body(BytesParser(policy=_POLICY).parsebytes(self.raw), "html") if self.raw else ""


class MessageViewer:
    """Shows the messages of emails.

    Args:
        runtime: the components of this process.
        reveals: whether links and tokens are shown unmasked.
    """

    def __init__(self, runtime: Runtime, *, reveals: bool) -> None:
        self._runtime = runtime
        self._reveals = reveals

    def show(self, prefix: str) -> MessageDetails:
        """Return the message of the email whose id is or starts with `prefix`.

        Raises:
            NotFound: the delivery log has no such email.
            InvalidInput: several ids start with `prefix`, or the content is invalid.
            RenderError: the template cannot be rendered.
            ConfigurationError: the content was encrypted with another SECRET_KEY.
            LogUnavailable: the delivery log cannot be read.
        """
        email = StatusService(self._runtime).find_email(prefix, takes_newest=True)
        if email is None:
            raise NotFound(
                f"The delivery log has no email {prefix}.",
                fix=f"To ask Celery as well, run: {mailctl_command('status', arguments=[prefix])}",
            )
        content = self._runtime.outbox.content(email.id)
        if content is not None and self._is_sent_by_own_task(email):
            note = "The service's own task composes the message; the log has only what that task was given."
            return self._from_log(email, note=note)
        if content is not None:
            return self._from_content(email, content)
        if email.state is State.CAPTURED and (path := self._file_of(email)):
            note = f"The message was read from {path}."
            masker = SecretMasker(token_patterns=self._runtime.links.paths.token_patterns())
            return self._make_details(email, MessageSource.FILE, path.read_bytes(), masker, note=note)
        return self._from_log(email)

    def raw(self, prefix: str) -> tuple[MessageDetails, bytes]:
        """Return the details of an email and its whole message (RFC 5322).

        Raises:
            ContentDeleted: the content was deleted.
            MailctlError: any error of `show`.
        """
        details = self.show(prefix)
        if details.raw is None:
            command = mailctl_command("show", arguments=[details.email.id])
            raise ContentDeleted(details.note, fix=f"See what the log still has: {command}")
        return details, details.raw

    def _from_content(self, email: Email, content: Content) -> MessageDetails:
        if content.unvalidated:
            try:
                content = self._validated(email, content)
            except (InvalidInput, ConfigurationError) as error:
                return self._from_arguments(email, content, error)
        now = self._runtime.clock()
        composing = self._runtime.composer.compose(
            id=email.id,
            kind=email.kind,
            content=content,
            created_at=email.created_at,
            now=now,
            can_unsubscribe=email.can_unsubscribe,
        )
        envelope = asyncio.run(composing)
        patterns = self._runtime.links.paths.token_patterns()
        masker = SecretMasker(content, envelope.links.values(), token_patterns=patterns)
        kind = self._runtime.catalog.get_recorded(email.kind)
        links = ", with new links" if self._runtime.links.makes_new(kind, content) else ""
        note = f"The email is {email.state}; this message was composed just now{links}."
        return self._make_details(email, MessageSource.COMPOSED, envelope.data, masker, note=note)

    def _make_details(
        self, email: Email, source: MessageSource, data: bytes, masker: SecretMasker, *, note: str
    ) -> MessageDetails:
        message = BytesParser(policy=_POLICY).parsebytes(data)
        if not self._reveals:
            _mask(message, masker)
            data = message.as_bytes()
        return MessageDetails(
            email=email,
            source=source,
            note=note,
            headers=tuple((name, printable_text(str(value))) for name, value in message.items()),
            text=printable_text(_body(message, "plain")),
            html_as_text=printable_text(html_to_text(_body(message, "html"))),
            raw=data,
        )

    def _validated(self, email: Email, content: Content) -> Content:
        kind = self._runtime.catalog.get_recorded(email.kind)
        return validated_content(kind, content, self._runtime.argument_rules)

    def _from_arguments(self, email: Email, content: Content, error: MailctlError) -> MessageDetails:
        """Return what the message of another program said, of which no email can be composed."""
        text = json.dumps(content.unvalidated, indent=2, ensure_ascii=False)
        if not self._reveals:
            given = content.unvalidated
            links = [value for _, value in _named_texts(given) if "://" in value]
            patterns = self._runtime.links.paths.token_patterns()
            named = replace(content, context=dict(_named_texts(given)))
            text = SecretMasker(named, links, token_patterns=patterns).mask(text)
        return MessageDetails(
            email=email,
            source=MessageSource.ARGUMENTS,
            note=f"No email can be composed from this message: {error.message} These are its arguments.",
            headers=(("To", email.to),) if email.to else (),
            text=printable_text(text),
        )

    def _from_log(self, email: Email, *, note: str = "") -> MessageDetails:
        known = [
            ("To", email.to),
            ("Subject", self._subject(email)),
            ("Date", format_datetime(email.sent_at) if email.sent_at else ""),
            ("Message-ID", email.message_id or ""),
        ]
        return MessageDetails(
            email=email,
            source=MessageSource.LOG,
            note=note or f"{_why_content_is_missing(email)} The log has only its metadata.",
            headers=tuple((name, value) for name, value in known if value),
        )

    def _is_sent_by_own_task(self, email: Email) -> bool:
        """Whether a task of the service composes the message, with templates that mailctl does not have."""
        if email.is_own_task or email.state is not State.PENDING:
            return email.is_own_task
        kind = self._runtime.catalog.find(email.kind)
        return kind is not None and Enqueuer(self._runtime).is_own_task(kind)

    def _subject(self, email: Email) -> str:
        if self._is_sent_by_own_task(email):
            return ""
        kind = self._runtime.catalog.find(email.kind)
        # The values of subject variables were deleted with the content.
        if kind is None or kind.subject is None or kind.subject_variables:
            return ""
        return kind.subject_line(self._runtime.settings.project_name, {})

    def _file_of(self, email: Email) -> Path | None:
        """Return the file that an email was captured to, if it exists; no other folder is read."""
        path = self._runtime.settings.mailctl_home.absolute() / "mail" / Path(email.captured_file or "").name
        return path if path.is_file() else None


def _why_content_is_missing(email: Email) -> str:
    """Return in one sentence why the log has no content of an email."""
    if email.is_sent_or_captured:
        return f"The content was deleted when the email was sent ({email.state})."
    if email.reason_code is ReasonCode.INVALID_MESSAGE:
        return "The content was never stored, because the message of another program was invalid."
    if email.is_own_task:
        return "The content was never stored, because the service's own task composes the message."
    return "The content was deleted by `mailctl prune`."


def _named_texts(value: Json, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the texts at any depth of a JSON value, with the names of their fields."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _named_texts(each, str(key))
    elif isinstance(value, list):
        for each in value:
            yield from _named_texts(each, name)


def _mask(message: EmailMessage, masker: SecretMasker) -> None:
    subject = str(message.get("Subject", ""))
    if (masked := masker.mask(subject)) != subject:
        message.replace_header("Subject", masked)
    for part in message.walk():
        if part.get_content_maintype() == "text":
            subtype = part.get_content_subtype()
            mask = masker.mask_html if subtype == "html" else masker.mask
            part.set_content(mask(part.get_content()), subtype=subtype, charset="utf-8")


def _body(message: EmailMessage, subtype: str) -> str:
    part = message.get_body((subtype,))
    return str(part.get_content()) if part is not None else ""


def printable_text(text: str) -> str:
    """Return a text without control characters, so that it is safe to print on a terminal."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(
        "".join(c if c.isprintable() or c == "\t" else " " for c in line) for line in lines
    ).rstrip()
