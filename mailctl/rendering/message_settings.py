"""The settings that concern every message: sender, reply address, headers and the folder of templates."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.errors import ConfigurationError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailctl.settings import Settings


@dataclass(frozen=True, kw_only=True)
class MessageSettings:
    """The validated settings for all messages."""

    project_name: str
    sender_name: str
    #: The address of the sender.
    sender: str
    #: The address for replies; "" for the sender's.
    reply_to: str
    #: Names and values of additional headers.
    more_headers: tuple[tuple[str, str], ...]
    #: The folder of the service's own templates; None if there is none.
    templates: Path | None


def message_settings_of(settings: Settings) -> MessageSettings:
    """Return the validated settings for all messages.

    Raises:
        ConfigurationError: the sender's address or name, the reply address, the bounce address or a header is
            invalid, or the folder of templates is missing.
    """
    # Slow to import, and most commands compose no message.
    from mailctl.domain import validation
    from mailctl.domain.address_validation import validate_address
    from mailctl.security.bounce_address import validate_bounce_address

    with _as_setting("PROJECT_NAME"):
        project_name = validation.validate_display_name(settings.project_name)
    with _as_setting("EMAIL_FROM_NAME"):
        sender_name = validation.validate_display_name(settings.sender_name)
    with _as_setting("EMAIL_FROM_ADDRESS"):
        sender = validate_address(settings.email_from_address)
    with _as_setting("MAILCTL_REPLY_TO"):
        reply_to = validate_address(settings.mailctl_reply_to) if settings.mailctl_reply_to else ""
    if settings.mailctl_bounce_address:
        validate_bounce_address(settings.mailctl_bounce_address)
    folder = settings.mailctl_templates
    if folder is not None and not folder.is_dir():
        raise ConfigurationError(
            f"MAILCTL_TEMPLATES={folder}: there is no such folder.", fix="Create it, or correct the path."
        )
    return MessageSettings(
        project_name=project_name,
        sender_name=sender_name,
        sender=sender,
        reply_to=reply_to,
        more_headers=_more_headers(settings, has_reply_to=bool(reply_to)),
        templates=folder,
    )


def _more_headers(settings: Settings, *, has_reply_to: bool) -> tuple[tuple[str, str], ...]:
    """Return the additional headers of MAILCTL_HEADERS."""
    from mailctl.domain import validation

    with _as_setting("MAILCTL_HEADERS"):
        headers = [
            (validation.validate_header_name(name), validation.validate_header_value(value, field=name))
            for name, value in _json_object(settings.mailctl_headers).items()
        ]
    names = [name.lower() for name, _ in headers] + (["reply-to"] if has_reply_to else [])
    if len(set(names)) < len(names):
        raise ConfigurationError("MAILCTL_HEADERS names a header twice.", fix="Name it once.")
    return tuple(headers)


def _json_object(text: str) -> dict[str, object]:
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidInput("headers", 'must be an object such as {"X-Tenant": "shop"}.')
    return value


@contextmanager
def _as_setting(name: str) -> Iterator[None]:
    try:
        yield
    except InvalidInput as error:
        raise ConfigurationError(f"{name} {error.reason}", fix=f"Correct {name}.") from None
