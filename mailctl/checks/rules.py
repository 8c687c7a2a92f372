"""Checks of the rules: recipient policy, rate limits and custom kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.checks.finding import CheckGroup, Finding
from mailctl.domain.catalog import BUILT_IN_CATALOG, Catalog
from mailctl.domain.catalog_loader import catalog_from_settings
from mailctl.domain.rate_limits import rate_limits_from_settings
from mailctl.domain.recipient_policy import recipient_policy_from_settings
from mailctl.errors import MailctlError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from mailctl.domain.rate_limits import RateLimits
    from mailctl.settings import Settings

_GROUP = CheckGroup(name="rules")
_RECIPIENTS, _LIMITS, _KINDS = "recipients", "limits", "own kinds"


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
    return catalog


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
