"""Doors that are settings or plug-ins: a value that is hostile stops the start, or the email."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mailctl.domain.catalog import RESET, WELCOME
from mailctl.domain.factory import make_content, make_user
from mailctl.rendering.composer import Composer
from mailctl.security.links import Links
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.domain.models import Envelope
    from mailctl.security.links import LinkRequest

NOW = datetime(2026, 11, 25, tzinfo=UTC)
ORIGIN = "https://app.example.com"


def _composed(**settings: Any) -> Envelope:
    given = Settings(frontend_url=ORIGIN, **settings)
    content = make_content(WELCOME, make_user(email="zoe@example.com"), origins=frozenset())
    composer = Composer(given, Links(given))
    return asyncio.run(composer.preview(WELCOME, content, at=NOW))


def _minted(value: Any) -> Envelope:
    minted.value = value
    given = Settings(frontend_url=ORIGIN, mailctl_link_mint="tests.hostile.settings_doors:minted")
    content = make_content(RESET, make_user(email="zoe@example.com"), origins=frozenset())
    return asyncio.run(Composer(given, Links(given)).preview(RESET, content, at=NOW))


class _Mint:
    """A service's own maker of links, which gives what a test wants."""

    value: Any = None

    def __call__(self, request: LinkRequest) -> Any:
        return self.value


minted = _Mint()

#: By field and name: what gives the finished message, and the header that the value then stands in.
SETTINGS: dict[str, dict[str, tuple[Callable[[Any], Envelope], str]]] = {
    "email": {
        "EMAIL_FROM_ADDRESS": (lambda value: _composed(email_from_address=value, email_from_name="x"), "From")
    },
    "from_name": {
        "EMAIL_FROM_NAME": (lambda value: _composed(email_from_name=value), "From"),
        "PROJECT_NAME": (lambda value: _composed(project_name=value), "From"),
    },
    "display_name": {"EMAIL_FROM_NAME": (lambda value: _composed(email_from_name=value), "From")},
    "reply_to": {"MAILCTL_REPLY_TO": (lambda value: _composed(mailctl_reply_to=value), "Reply-To")},
    "header_name": {
        "MAILCTL_HEADERS": (lambda value: _composed(mailctl_headers=json.dumps({value: "v"})), "")
    },
    "header_value": {
        "MAILCTL_HEADERS": (lambda value: _composed(mailctl_headers=json.dumps({"X-A": value})), "X-A")
    },
    "token": {"MAILCTL_LINK_MINT": (_minted, "")},
}
