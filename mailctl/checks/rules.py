"""The rules: whom this environment may mail, how much, and which kinds the service adds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.checks.finding import Finding, Group
from mailctl.domain.catalog import BUILT_IN, Catalog
from mailctl.domain.catalog_loader import catalog_for
from mailctl.domain.rate_limits import limits_of
from mailctl.domain.recipient_policy import audience_of
from mailctl.errors import MailctlError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from mailctl.domain.rate_limits import Limits
    from mailctl.settings import Settings

_GROUP = Group(name="rules")
_AUDIENCE, _LIMITS, _KINDS = "recipients", "limits", "own kinds"


def check_rules(settings: Settings) -> Generator[Finding, None, Catalog]:
    """Say which rules are in force.

    Returns:
        The kinds of email that there are; ours alone if those of the service cannot be loaded.
    """
    try:
        in_force = str(audience_of(settings))
        yield _GROUP.ok(_AUDIENCE, in_force or "everybody may be mailed from here")
    except MailctlError as error:
        yield _GROUP.error(_AUDIENCE, error)
    catalog = yield from _catalog(settings)
    try:
        limits = limits_of(settings)
        yield _GROUP.ok(_LIMITS, str(limits))
        yield from _unknown_kinds(limits, catalog)
    except MailctlError as error:
        yield _GROUP.error(_LIMITS, error)
    return catalog


def _catalog(settings: Settings) -> Generator[Finding, None, Catalog]:
    catalog = catalog_for(settings)
    try:
        own = ", ".join(catalog.own)
    except MailctlError as error:
        yield _GROUP.error(_KINDS, error)
        return BUILT_IN
    if own:
        yield _GROUP.ok(_KINDS, own)
    return catalog


def _unknown_kinds(limits: Limits, catalog: Catalog) -> Iterator[Finding]:
    for name in sorted(limits.kinds - catalog.kinds.keys()):
        yield _GROUP.warn(
            _LIMITS, f"there is a limit for {name!r}, and no kind of this name", fix="Correct the name."
        )
