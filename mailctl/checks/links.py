"""Checks of the links in emails: where they lead, who makes their tokens, and who can read them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from secrets import token_urlsafe
from typing import TYPE_CHECKING

from pydantic import SecretStr

from mailctl.checks.finding import CheckGroup, Finding
from mailctl.domain.jwt import unverified_expiry
from mailctl.domain.models import User
from mailctl.domain.samples import sample_content
from mailctl.errors import ConfigurationError, MailctlError, NotFound
from mailctl.security.links import InvalidLink, Links, link_origins
from mailctl.settings.credential_masking import mask_url
from mailctl.timefmt import format_duration
from mailctl.users import ServiceUserDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mailctl.domain.catalog import Catalog, Kind, Link
    from mailctl.domain.models import Content
    from mailctl.settings import Settings

_GROUP = CheckGroup(name="links")
_MINT = "MAILCTL_LINK_MINT"
_PATHS = "MAILCTL_LINK_PATHS"


def check_links(settings: Settings, catalog: Catalog, *, offline: bool) -> Iterator[Finding]:
    """Make a link for each purpose, and say who makes its token and who can read it.

    Args:
        settings: the settings.
        catalog: the kinds of email.
        offline: whether to make them for a user who does not exist, instead of one of the users' database.

    Raises:
        ConfigurationError: the service's own kinds cannot be loaded.
    """
    yield _origins(settings)
    try:
        # With throwaway keys: SECRET_KEY has a check of its own.
        keys = {"secret_key": SecretStr(token_urlsafe(48)), "mailctl_secret_keys_old": SecretStr("")}
        with closing(_Users(settings, offline=offline)) as users:
            links = Links(settings.model_copy(update=keys), find_user=users.find_record)
            yield from _unknown_purposes(links, catalog)
            for kind in catalog.kinds.values():
                yield from _links_of(links, kind, users.sample(kind), settings)
    except MailctlError as error:
        yield _GROUP.error(_MINT if settings.mailctl_link_mint else "tokens", error)


class _Users:
    """The user of the sample links: the first of the service's database, or an invented one."""

    def __init__(self, settings: Settings, *, offline: bool) -> None:
        url = settings.database_url
        is_asked = url is not None and settings.mailctl_link_mint and not offline
        self._directory = (
            ServiceUserDirectory(
                url.get_secret_value(),
                query=settings.mailctl_users_query,
                list_query=settings.mailctl_users_list_query,
            )
            if url is not None and is_asked
            else None
        )

    def sample(self, kind: Kind) -> Content:
        """Return sample content of a kind to that user."""
        content = sample_content(kind)
        try:
            rows = self._directory.iter_users() if self._directory is not None else iter(())
            first = next((row for row in rows if isinstance(row, User)), None)
        except MailctlError:
            first = None  # the check of the users says why
        return replace(content, user=first) if first is not None else content

    def find_record(self, user_id: str) -> Mapping[str, object]:
        """Return the record of a user; nothing for an invented user."""
        try:
            return self._directory.find_record(user_id) if self._directory is not None else {}
        except NotFound:
            return {}

    def close(self) -> None:
        """Close the connection."""
        if self._directory is not None:
            self._directory.close()


def _origins(settings: Settings) -> Finding:
    try:
        origins = sorted(link_origins(settings))
    except ConfigurationError as error:
        return _GROUP.error("origins", error)
    return _GROUP.ok("origins", f"links lead to {', '.join(origins) or settings.frontend_url}")


def _unknown_purposes(links: Links, catalog: Catalog) -> Iterator[Finding]:
    known = {link.purpose for kind in catalog.kinds.values() for link in kind.links}
    for purpose in sorted(links.paths.purposes - known):
        yield _GROUP.fail(
            _PATHS, f"No link has the purpose {purpose}.", fix=f"Use one of: {', '.join(sorted(known))}."
        )


def _links_of(links: Links, kind: Kind, content: Content, settings: Settings) -> Iterator[Finding]:
    now = datetime.now(UTC)
    tokens: dict[str, str] = {}
    for link in kind.links:
        try:
            tokens[link.variable] = links.token(kind, link, content, now=now)
        except MailctlError as error:
            yield _GROUP.error(link.purpose, error)
            continue
        yield _readable(links, link, tokens[link.variable], settings, now=now)
    urls = [links.paths.url(link, tokens[link.variable]) for link in kind.links if link.variable in tokens]
    if len(set(urls)) < len(urls):
        yield _GROUP.fail(
            _MINT,
            f"Two links in an email of kind {kind.name} are identical, so they request the same action.",
            fix="Put the action or the purpose of the request into the token.",
        )


def _readable(links: Links, link: Link, token: str, settings: Settings, *, now: datetime) -> Finding:
    """Say who makes the tokens of a purpose, and who can read them."""
    where = mask_url(links.paths.url(link, "…")).replace("%E2%80%A6", "…")
    given = "are sealed, for mailctl.links" if settings.seals_link_tokens else "are used unchanged"
    expiry = unverified_expiry(token)
    if expiry is not None and expiry <= now:
        return _GROUP.fail(
            link.purpose,
            f"{settings.mailctl_link_mint} makes a token that has expired already.",
            fix="Set its exp in UTC, to a time in the future.",
        )
    try:
        links.verify(token, purpose=link.purpose, now=now)
    except InvalidLink:
        kind = "a token" if expiry is None else f"a JWT for {format_duration(expiry - now)}"
        made = f"{settings.mailctl_link_mint} makes {kind}, which your service reads"
    else:
        made = "mailctl makes a sealed one, which only mailctl.links can read"
        if settings.mailctl_app and not settings.seals_link_tokens:
            return _only_mailctl_reads(
                link, f"{where}: the tokens of the service {given}; without one, {made}."
            )
    return _GROUP.ok(link.purpose, f"{where}: the tokens of the service {given}; without one, {made}")


def _only_mailctl_reads(link: Link, detail: str) -> Finding:
    return _GROUP.warn(
        link.purpose,
        f"The link is {detail}",
        fix=(
            f"If your endpoint reads its own tokens, set {_MINT} to the function that makes them; if it calls"
            " mailctl.links, set MAILCTL_LINK_TOKENS=sealed."
        ),
    )
