"""Checks of feedback: the sources of bounces and complaints, the webhooks of providers, and unsubscribing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mailctl.checks.finding import CheckGroup, Finding
from mailctl.domain.feedback_sources import (
    IMAP,
    LMTP,
    MAILDIR,
    parse_lmtp_address,
    parse_mailbox_url,
    require_maildir,
)
from mailctl.domain.webhook_secrets import SETTING as WEBHOOKS
from mailctl.domain.webhook_secrets import webhook_secrets_from_settings
from mailctl.errors import ConfigurationError
from mailctl.security.unsubscribe_links import SETTING as UNSUBSCRIBE
from mailctl.security.unsubscribe_links import unsubscribe_url_from_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailctl.domain.catalog import Catalog
    from mailctl.settings import Settings

_GROUP = CheckGroup(name="feedback")


def check_feedback(settings: Settings, catalog: Catalog) -> Iterator[Finding]:
    """Check the sources of feedback and the webhooks, and whether recipients can unsubscribe.

    Args:
        settings: the settings.
        catalog: the kinds of email.
    """
    yield from _check_sources(settings)
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


def _check_sources(settings: Settings) -> Iterator[Finding]:
    """Yield an error for each invalid setting of a source; no source is connected to."""
    checks: dict[str, Callable[[], object]] = {}
    if folder := settings.mailctl_feedback_maildir:
        checks[MAILDIR] = partial(require_maildir, folder)
    if url := settings.mailctl_feedback_imap:
        secrets = (settings.mailctl_feedback_imap_password, settings.mailctl_feedback_imap_token_command)
        has_credentials = any(each.get_secret_value() for each in secrets)
        checks[IMAP] = partial(parse_mailbox_url, url, has_credentials=has_credentials)
    if address := settings.mailctl_feedback_lmtp:
        checks[LMTP] = partial(parse_lmtp_address, address)
    for name, check in checks.items():
        try:
            check()
        except ConfigurationError as error:
            yield _GROUP.error(name, error)
