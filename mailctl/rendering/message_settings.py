"""What every email has from the settings: sender, reply address, headers, the folder of templates."""

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
    """What every email has, whatever its kind."""

    project_name: str
    sender_name: str
    #: The address that emails come from.
    sender: str
    #: Where answers go; "" for the sender.
    reply_to: str
    #: Names and values, as they are written into a message.
    more_headers: tuple[tuple[str, str], ...]
    #: The service's own templates; None where it has none.
    templates: Path | None


def message_settings_of(settings: Settings) -> MessageSettings:
    """Return what every email has.

    Raises:
        ConfigurationError: the name or address of the sender, the address for answers or a header is not
            usable, or the folder of templates is missing; no email can be made.
    """
    from mailctl.domain import validation  # takes long to import, and most commands make no email

    with _as_setting("PROJECT_NAME"):
        project_name = validation.validate_display_name(settings.project_name)
    with _as_setting("EMAIL_FROM_NAME"):
        sender_name = validation.validate_display_name(settings.sender_name)
    with _as_setting("EMAIL_FROM_ADDRESS"):
        sender = validation.validate_address(settings.email_from_address)
    with _as_setting("MAILCTL_REPLY_TO"):
        reply_to = validation.validate_address(settings.mailctl_reply_to) if settings.mailctl_reply_to else ""
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
    """Return the headers that the service wants besides ours."""
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
        raise InvalidInput("headers", 'is not an object such as {"X-Tenant": "shop"}.')
    return value


@contextmanager
def _as_setting(name: str) -> Iterator[None]:
    try:
        yield
    except InvalidInput as error:
        raise ConfigurationError(f"{name} {error.reason}", fix=f"Correct {name}.") from None
