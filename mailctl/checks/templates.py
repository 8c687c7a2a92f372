"""Checks of the templates and of the links in them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from secrets import token_urlsafe
from typing import TYPE_CHECKING

from pydantic import SecretStr

from mailctl.checks.finding import CheckGroup, Finding
from mailctl.domain.catalog import BUILT_IN_CATALOG, RESET
from mailctl.domain.samples import sample_content
from mailctl.errors import ConfigurationError, MailctlError
from mailctl.rendering.composer import COMMON_VARIABLES, Composer
from mailctl.security.links import Links, link_origins

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from mailctl.domain.catalog import Catalog, Kind
    from mailctl.settings import Settings

_GROUP = CheckGroup(name="templates")
_SAMPLE_ID = "00000000-0000-0000-0000-000000000000"
_LINK_MINT_SETTING = "MAILCTL_LINK_MINT"


def check_templates(settings: Settings, catalog: Catalog) -> Generator[Finding, None, None]:
    """Compose a sample email of each kind, and compile all other templates.

    Args:
        settings: the settings.
        catalog: the kinds of emails.

    Raises:
        ConfigurationError: MAILCTL_TEMPLATES or EMAIL_FROM_ADDRESS cannot be used.
    """
    yield _origins(settings)
    yield from _link_mint(settings)
    composer = make_throwaway_composer(settings, catalog)
    if settings.mailctl_templates is not None:
        yield _GROUP.ok("MAILCTL_TEMPLATES", f"{settings.mailctl_templates} is searched first")
    used = set()
    for kind in catalog.kinds.values():
        template = kind.template or sample_content(kind).template or ""
        used.add(template)
        yield _rendered(composer, kind, template)
        if kind.template is not None:
            yield from _unknown_variables(composer, kind, template)
    for template in composer.list_templates():
        if template not in used:
            yield _compiled(composer, template)


def make_throwaway_composer(settings: Settings, catalog: Catalog = BUILT_IN_CATALOG) -> Composer:
    """Return a composer with throwaway keys; SECRET_KEY and MAILCTL_LINK_MINT have checks of their own.

    Raises:
        ConfigurationError: MAILCTL_TEMPLATES or EMAIL_FROM_ADDRESS cannot be used.
    """
    links = Links(settings.model_copy(update={"mailctl_link_mint": "", **_throwaway_keys()}))
    return Composer(settings, links, catalog=catalog)


def _throwaway_keys() -> dict[str, SecretStr]:
    return {"secret_key": SecretStr(token_urlsafe(48)), "mailctl_secret_keys_old": SecretStr("")}


def _origins(settings: Settings) -> Finding:
    try:
        origins = sorted(link_origins(settings))
    except ConfigurationError as error:
        return _GROUP.error("links", error)
    return _GROUP.ok("links", f"links lead to {', '.join(origins) or settings.frontend_url}")


def _link_mint(settings: Settings) -> Iterator[Finding]:
    if not settings.mailctl_link_mint:
        return
    content, now = sample_content(RESET), datetime.now(UTC)
    try:
        Links(settings.model_copy(update=_throwaway_keys())).make_urls(RESET, content, now=now)
    except MailctlError as error:
        yield _GROUP.error(_LINK_MINT_SETTING, error)
    else:
        yield _GROUP.ok(_LINK_MINT_SETTING, f"{settings.mailctl_link_mint} creates the links")


def _rendered(composer: Composer, kind: Kind, template: str) -> Finding:
    now = datetime.now(UTC)
    try:
        envelope = asyncio.run(
            composer.compose(
                id=_SAMPLE_ID, kind=kind.name, content=sample_content(kind), created_at=now, now=now
            )
        )
    except MailctlError as error:
        return _GROUP.error(template, error)
    size = len(envelope.data) / 1000
    return _GROUP.ok(template, f"renders kind {kind.name} ({size:.1f} kB): {envelope.subject}")


def _unknown_variables(composer: Composer, kind: Kind, template: str) -> Iterator[Finding]:
    """Yield unknown variables that the sample email does not reveal, in branches that it does not take."""
    with suppress(MailctlError):
        for variable in composer.unknown_variables(kind, sample_content(kind)):
            yield _GROUP.fail(
                template,
                f"The template uses the variable {variable}, which emails of kind {kind.name} do not have.",
                fix="Correct its name in the template, or remove it.",
            )


def _compiled(composer: Composer, template: str) -> Finding:
    try:
        composer.check_template(template)
    except MailctlError as error:
        return _GROUP.error(template, error)
    variables = ", ".join(sorted(composer.template_variables(template) - COMMON_VARIABLES)) or "none"
    return _GROUP.ok(template, f"compiles; its own variables: {variables}")
