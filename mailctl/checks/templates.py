"""Checks of the templates."""

from __future__ import annotations

import asyncio
import email
import email.policy
import html
from contextlib import suppress
from datetime import UTC, datetime
from secrets import token_urlsafe
from typing import TYPE_CHECKING

from pydantic import SecretStr

from mailctl.checks.finding import CheckGroup, Finding
from mailctl.domain.catalog import BUILT_IN_CATALOG, BUILT_IN_KINDS
from mailctl.domain.samples import sample_content
from mailctl.domain.shell_command import mailctl_command
from mailctl.errors import MailctlError, suggest_name
from mailctl.rendering.composer import Composer
from mailctl.rendering.variables import COMMON_VARIABLES
from mailctl.security.links import Links

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from mailctl.domain.catalog import Catalog, Kind
    from mailctl.domain.models import Envelope
    from mailctl.settings import Settings

_GROUP = CheckGroup(name="templates")
_SAMPLE_ID = "00000000-0000-0000-0000-000000000000"
_ALIASES_SETTING = "MAILCTL_TEMPLATE_ALIASES"


def check_templates(settings: Settings, catalog: Catalog) -> Generator[Finding, None, None]:
    """Compose a sample email of each kind, and compile all other templates.

    Args:
        settings: the settings.
        catalog: the kinds of emails.

    Raises:
        ConfigurationError: MAILCTL_TEMPLATES or EMAIL_FROM_ADDRESS cannot be used.
    """
    composer = make_throwaway_composer(settings, catalog)
    if settings.mailctl_templates is not None:
        yield _GROUP.ok("MAILCTL_TEMPLATES", f"{settings.mailctl_templates} is searched first")
    used = set()
    for kind in catalog.kinds.values():
        template = kind.template or sample_content(kind).template or ""
        used.add(template)
        yield from _rendered(composer, kind, template)
        if kind.name in BUILT_IN_KINDS:
            yield from check_own_template(composer, kind, template)
        else:
            yield from _unknown_variables(composer, kind, template)
    yield from _aliases(composer, catalog)
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


def _rendered(composer: Composer, kind: Kind, template: str) -> Iterator[Finding]:
    now = datetime.now(UTC)
    try:
        envelope = asyncio.run(
            composer.compose(
                id=_SAMPLE_ID, kind=kind.name, content=sample_content(kind), created_at=now, now=now
            )
        )
    except MailctlError as error:
        yield _GROUP.error(template, error)
        return
    size = len(envelope.data) / 1000
    yield _GROUP.ok(template, f"renders kind {kind.name} ({size:.1f} kB): {envelope.subject}")
    for variable, parts in find_missing_links(envelope, [link.variable for link in kind.links]).items():
        where = f" in the {parts[0]} part" if len(parts) == 1 else ""
        yield _GROUP.fail(
            template,
            f"Emails of kind {kind.name} lack their link{where}: the template does not use {variable}.",
            fix=f"Add {{{{ {variable} }}}} to it, then check with:"
            f" {mailctl_command('preview', arguments=[kind.name])}",
        )


def find_missing_links(envelope: Envelope, variables: Iterable[str]) -> dict[str, list[str]]:
    """Return the parts of a composed message that lack one of its links, by the variable of the link.

    Args:
        envelope: the message, with its links.
        variables: the variables of the links that it must have.
    """
    links = {variable: envelope.links[variable] for variable in variables}
    missing: dict[str, list[str]] = {}
    message = email.message_from_bytes(envelope.data, policy=email.policy.default)
    for part in message.walk():
        if part.get_content_maintype() != "text":
            continue
        content = part.get_content()
        is_html = part.get_content_subtype() == "html"
        text = html.unescape(content) if is_html else content
        for variable, url in links.items():
            if url not in text:
                missing.setdefault(variable, []).append("HTML" if is_html else "plain text")
    return missing


def check_own_template(composer: Composer, kind: Kind, template: str) -> Iterator[Finding]:
    """Yield a warning if emails of a built-in kind cannot use the service's own template.

    Args:
        composer: a composer with the present templates.
        kind: the built-in kind.
        template: its template.
    """
    if reason := composer.reason_against_own_template(kind, sample_content(kind)):
        yield _GROUP.warn(
            template,
            f"Emails of kind {kind.name} use mailctl's template instead of yours: {reason}",
            fix="Correct your template, or rename it (MAILCTL_TEMPLATE_ALIASES keeps its present name).",
        )


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
    text = "" if composer.has_text_file(template) else "; its plain text is derived from the HTML"
    return _GROUP.ok(template, f"compiles; its own variables: {variables}{text}")


def _aliases(composer: Composer, catalog: Catalog) -> Iterator[Finding]:
    """Yield a failure for each name of MAILCTL_TEMPLATE_ALIASES that stands for no template."""
    names = composer.list_templates()
    for alias, template in catalog.template_aliases.items():
        if template not in names:
            yield _GROUP.fail(
                _ALIASES_SETTING,
                f"{alias} stands for {template}, which does not exist.",
                fix=suggest_name(template, names),
            )
