"""Checks of the rules: recipient policy, rate limits and custom kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.checks.finding import CheckGroup, Finding
from mailctl.domain.catalog import BUILT_IN_CATALOG, Catalog
from mailctl.domain.catalog_loader import catalog_from_settings
from mailctl.domain.rate_limits import rate_limits_from_settings
from mailctl.domain.recipient_policy import recipient_policy_from_settings
from mailctl.errors import MailctlError
from mailctl.rendering.message_settings import ALL_KINDS, message_settings_of
from mailctl.smtp.mail_servers import mail_servers_from_settings

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from mailctl.domain.rate_limits import RateLimits
    from mailctl.settings import Settings

_GROUP = CheckGroup(name="rules")
_RECIPIENTS, _LIMITS, _KINDS, _SENDERS = "recipients", "limits", "own kinds", "senders"


def check_rules(settings: Settings) -> Generator[Finding, None, Catalog]:
    """Report the rules that are in force.

    Returns:
        The catalog of kinds; the built-in catalog if the custom kinds cannot be loaded.
    """
    try:
        in_force = str(recipient_policy_from_settings(settings))
        yield _GROUP.ok(_RECIPIENTS, in_force or "all recipients are allowed")
    except MailctlError as error:
        yield _GROUP.error(_RECIPIENTS, error)
    catalog = yield from _catalog(settings)
    try:
        limits = rate_limits_from_settings(settings)
        yield _GROUP.ok(_LIMITS, str(limits))
        yield from _unknown_kinds(limits, catalog)
    except MailctlError as error:
        yield _GROUP.error(_LIMITS, error)
    yield from _senders(settings, catalog)
    return catalog


def _senders(settings: Settings, catalog: Catalog) -> Iterator[Finding]:
    """Report the senders, and kinds that headers, senders and routes name although there are none."""
    try:
        messages = message_settings_of(settings)
    except MailctlError as error:
        yield _GROUP.error(_SENDERS, error)
        return
    if settings.mailctl_senders is not None:
        listed = (f"{each.name} <{each.address}>" for each in messages.senders.identities)
        yield _GROUP.ok(_SENDERS, ", ".join(listed))
    named = {
        "MAILCTL_HEADERS": {kind for header in messages.more_headers for kind in header.values} - {ALL_KINDS},
        "MAILCTL_SENDERS": messages.senders.kinds,
        "MAILCTL_SERVERS": _kinds_of_routes(settings),
    }
    for setting, kinds in named.items():
        for name in sorted(kinds - catalog.kinds.keys()):
            yield _GROUP.warn(
                setting, f"It names {name!r}, but there is no kind with this name.", fix="Correct the name."
            )


def _kinds_of_routes(settings: Settings) -> set[str]:
    try:
        routes = mail_servers_from_settings(settings).routing.routes
    except MailctlError:  # the mail servers have a check of their own
        return set()
    return {kind for route in routes for kind in route.kinds}


def _catalog(settings: Settings) -> Generator[Finding, None, Catalog]:
    try:
        catalog = catalog_from_settings(settings)
    except MailctlError as error:
        yield _GROUP.error("MAILCTL_TEMPLATE_ALIASES", error)
        return BUILT_IN_CATALOG
    try:
        own = ", ".join(catalog.custom_kinds)
    except MailctlError as error:
        yield _GROUP.error(_KINDS, error)
        return BUILT_IN_CATALOG
    if own:
        yield _GROUP.ok(_KINDS, own)
    return catalog


def _unknown_kinds(limits: RateLimits, catalog: Catalog) -> Iterator[Finding]:
    for name in sorted(limits.kinds - catalog.kinds.keys()):
        yield _GROUP.warn(
            _LIMITS, f"There is a limit for {name!r}, but no kind with this name.", fix="Correct the name."
        )
