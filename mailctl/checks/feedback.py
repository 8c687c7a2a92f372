"""Checks of feedback over HTTP: the webhooks of providers, and unsubscribing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.checks.finding import CheckGroup, Finding
from mailctl.domain.webhook_secrets import SETTING as WEBHOOKS
from mailctl.domain.webhook_secrets import webhook_secrets_from_settings
from mailctl.errors import ConfigurationError
from mailctl.security.unsubscribe_links import SETTING as UNSUBSCRIBE
from mailctl.security.unsubscribe_links import unsubscribe_url_from_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.domain.catalog import Catalog
    from mailctl.settings import Settings

_GROUP = CheckGroup(name="feedback")


def check_feedback(settings: Settings, catalog: Catalog) -> Iterator[Finding]:
    """Say which webhooks are switched on, and whether recipients can unsubscribe.

    Args:
        settings: the settings.
        catalog: the kinds of email.
    """
    try:
        providers = sorted(webhook_secrets_from_settings(settings))
        if providers:
            yield _GROUP.ok("webhooks", f"switched on: {', '.join(providers)}")
    except ConfigurationError as error:
        yield _GROUP.error(WEBHOOKS, error)
    try:
        url = unsubscribe_url_from_settings(settings)
    except ConfigurationError as error:
        yield _GROUP.error(UNSUBSCRIBE, error)
        return
    kinds = [kind.name for kind in catalog.kinds.values() if kind.can_unsubscribe]
    if url:
        named = f", and from {', '.join(kinds)}" if kinds else ""
        yield _GROUP.ok("unsubscribing", f"from campaigns{named}, at {url}")
    elif kinds:
        yield _GROUP.warn(
            "unsubscribing",
            f"Recipients may unsubscribe from {', '.join(kinds)}, but these emails have no link for it.",
            fix=f"Set {UNSUBSCRIBE}; see docs/how-to/unsubscribing.md.",
        )
