"""What can be seen of an email's content: no link in it works, whoever looks."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mailctl.errors import MailctlError
from mailctl.message import State

if TYPE_CHECKING:
    from email.message import EmailMessage

    from mailctl.message import Email
    from mailctl.runtime import Runtime

MASK = "***"
#: Everything behind the path of an address: tokens are there.
_QUERY = re.compile(r"""(?P<place>https?://[^\s"'<>?#]+)[?#][^\s"'<>]+""", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A message, masked."""

    #: Where it comes from, or why there is none.
    note: str
    headers: tuple[tuple[str, str], ...] = ()
    text: str = ""
    html: str = ""


def show_contents(runtime: Runtime, found: Email) -> Shown:
    """Return what can be seen of an email: composed now, read from its file, or nothing any more."""
    content = runtime.outbox.content(found.id)
    if content is not None:
        composing = runtime.composer.compose(
            id=found.id,
            kind=found.kind,
            content=content,
            created_at=found.created_at,
            now=found.updated_at,
        )
        try:
            data = asyncio.run(composing).data
        except MailctlError as error:
            return Shown(note=f"It cannot be composed: {error.message}")
        return _masked(data, note="Composed just now, as it would go out; links are masked.")
    file = _file_of(runtime, found)
    if file is not None:
        return _masked(file.read_bytes(), note=f"Read from {file}; links are masked.")
    return Shown(note="Its content is forgotten: the log keeps it only until the email has gone out.")


def masked(text: str) -> str:
    """Return a text, plain or HTML, whose links lead to the right place and carry nothing."""
    return _QUERY.sub(rf"\g<place>?{MASK}", text)


def _file_of(runtime: Runtime, found: Email) -> Path | None:
    """Return the file that an email was written to, if it is there: only in the one folder for them."""
    if found.state is not State.CAPTURED:
        return None
    file = runtime.settings.mailctl_home.absolute() / "mail" / Path(found.reply.text).name
    return file if file.is_file() else None


def _masked(data: bytes, *, note: str) -> Shown:
    message: EmailMessage = email.message_from_bytes(data, policy=email.policy.default)
    return Shown(
        note=note,
        headers=tuple((name, masked(str(value))) for name, value in message.items()),
        text=masked(_body(message, "plain")),
        html=masked(_body(message, "html")),
    )


def _body(message: EmailMessage, subtype: str) -> str:
    part = message.get_body((subtype,))
    return str(part.get_content()) if part is not None else ""
