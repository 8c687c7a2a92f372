"""The settings that concern every message: sender, reply address, headers and the folder of templates."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.domain.senders import DEFAULT_SENDER, SenderIdentity
from mailctl.errors import ConfigurationError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mailctl.domain.senders import Senders
    from mailctl.settings import Settings

#: The value of a header for all kinds that have none of their own.
ALL_KINDS = "*"
#: A name in braces, as a template has it; the braces of JSON, which some providers read, have quotes in them.
_PLACEHOLDER = re.compile(r"\{\{?\s*[A-Za-z_][\w.]*\s*\}?\}")


@dataclass(frozen=True, kw_only=True)
class KindHeader:
    """An additional header, whose value may depend on the kind of the email."""

    name: str
    #: The value by kind; `ALL_KINDS` stands for all others.
    values: Mapping[str, str]

    def value_for(self, kind: str) -> str | None:
        """Return the value for a kind; None if its emails do not have the header."""
        return self.values.get(kind, self.values.get(ALL_KINDS))


@dataclass(frozen=True, kw_only=True)
class MessageSettings:
    """The validated settings for all messages."""

    project_name: str
    #: The senders that emails may have.
    senders: Senders
    #: Additional headers.
    more_headers: tuple[KindHeader, ...]
    #: The folder of the service's own templates; None if there is none.
    templates: Path | None


def message_settings_of(settings: Settings) -> MessageSettings:
    """Return the validated settings for all messages.

    Raises:
        ConfigurationError: a sender's address or name, a reply address, the bounce address or a header is
            invalid, or the folder of templates is missing.
    """
    # Slow to import, and most commands compose no message.
    from mailctl.domain import validation
    from mailctl.domain.address_validation import validate_address
    from mailctl.rendering.senders import read_senders
    from mailctl.security.bounce_address import validate_bounce_address

    with _as_setting("PROJECT_NAME"):
        project_name = validation.validate_display_name(settings.project_name)
    with _as_setting("EMAIL_FROM_NAME"):
        sender_name = validation.validate_display_name(settings.sender_name)
    with _as_setting("EMAIL_FROM_ADDRESS", settings.email_from_address):
        sender = validate_address(settings.email_from_address)
    with _as_setting("MAILCTL_REPLY_TO", settings.mailctl_reply_to):
        reply_to = validate_address(settings.mailctl_reply_to) if settings.mailctl_reply_to else ""
    if settings.mailctl_bounce_address:
        validate_bounce_address(settings.mailctl_bounce_address)
    default = SenderIdentity(
        name=DEFAULT_SENDER,
        address=sender,
        display_name=sender_name,
        bounce_address=sender,
        reply_to=reply_to,
    )
    folder = settings.mailctl_templates
    if folder is not None and not folder.is_dir():
        raise ConfigurationError(
            f"MAILCTL_TEMPLATES={folder}: there is no such folder.", fix="Create it, or correct the path."
        )
    return MessageSettings(
        project_name=project_name,
        senders=read_senders(settings.mailctl_senders, default=default),
        more_headers=_more_headers(settings, has_reply_to=bool(reply_to)),
        templates=folder,
    )


def _more_headers(settings: Settings, *, has_reply_to: bool) -> tuple[KindHeader, ...]:
    """Return the additional headers of MAILCTL_HEADERS."""
    from mailctl.domain import validation

    with _as_setting("MAILCTL_HEADERS"):
        headers = tuple(
            KindHeader(name=validation.validate_header_name(name), values=_values_by_kind(name, value))
            for name, value in _json_object(settings.mailctl_headers).items()
        )
    names = [header.name.lower() for header in headers] + (["reply-to"] if has_reply_to else [])
    if len(set(names)) < len(names):
        raise ConfigurationError("MAILCTL_HEADERS names a header twice.", fix="Name it once.")
    return headers


def _values_by_kind(name: str, value: object) -> Mapping[str, str]:
    """Return the values of a header by kind; `*` stands for all other kinds."""
    if not isinstance(value, dict):
        return {ALL_KINDS: _header_value(name, value)}
    if not value:
        raise InvalidInput(name, "has no value for any kind.")
    return {kind: _header_value(name, each) for kind, each in value.items()}


def _header_value(name: str, value: object) -> str:
    from mailctl.domain import validation

    text = validation.validate_header_value(value, field=name)
    if found := _PLACEHOLDER.search(text):
        raise InvalidInput(
            name,
            f"contains {found[0]}, which is not filled in: a header has the same value in every email of a"
            " kind.",
        )
    return text


def _json_object(text: str) -> dict[str, object]:
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidInput("headers", 'must be an object such as {"X-Tenant": "shop"}.')
    return value


@contextmanager
def _as_setting(name: str, quoted: str | None = None) -> Iterator[None]:
    """Raise an error about a setting, with its value if that is one line that anyone may read."""
    subject = name if quoted is None else f"{name} {quoted!r}"
    try:
        yield
    except InvalidInput as error:
        raise ConfigurationError(f"{subject} {error.reason}", fix=f"Correct {name}.") from None
