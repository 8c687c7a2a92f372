"""Action links: created when an email is sent, and verified when their readers open them."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from mailctl.domain.link_paths import parse_link_paths
from mailctl.domain.link_validation import is_local_host
from mailctl.domain.samples import SAMPLE_TOKEN
from mailctl.errors import ConfigurationError, MailctlError
from mailctl.security.keyring import Keyring
from mailctl.security.link_mint import LinkMint, LinkRequest, LinkUser, load_mint
from mailctl.settings import Settings
from mailctl.settings.connection_urls.parts import InvalidUrl
from mailctl.settings.connection_urls.web import parse_web_url

if TYPE_CHECKING:
    from mailctl.domain.catalog import Kind, Link
    from mailctl.domain.models import Content
    from mailctl.security.link_mint import UserLookup

__all__ = [
    "InvalidLink",
    "LinkClaims",
    "LinkRequest",
    "LinkUser",
    "Links",
    "UseStore",
    "UsedLink",
    "link_origins",
    "redeem",
    "verify",
]

#: The tolerated difference between the clocks of two hosts, in seconds.
CLOCK_SKEW_SECONDS = 60
#: How long the use of a link is stored after the link has expired.
_USE_RETENTION = timedelta(hours=1)
#: The longest sealed link in characters: one with the longest token of a service.
_MAX_SEALED_LENGTH = 4000


class InvalidLink(MailctlError):
    """A link is altered, has expired, or was created for another purpose or by somebody else."""


class UsedLink(InvalidLink):
    """A valid link was already used."""


@dataclass(frozen=True, kw_only=True)
class LinkClaims:
    """The verified content of a sealed link."""

    purpose: str
    user_id: str | None
    email: str
    action: str | None
    expires_at: datetime
    #: The service's own token, if it was given and sealed; otherwise a random one, new for each link.
    token: str


class UseStore(Protocol):
    """Stores which links were used; `mailctl.delivery_log.used_links` implements it for SQL databases."""

    def use(self, digest: str, *, purpose: str, until: datetime) -> bool:
        """Store the use of a link, atomically.

        Args:
            digest: identifies the link without revealing it.
            purpose: the purpose of the link.
            until: when the use may be deleted.

        Returns:
            Whether this is the first use.
        """


class Links:
    """Creates and verifies the action links of a service.

    A token that came with the email is passed on as it is, or sealed (MAILCTL_LINK_TOKENS). Without one, the
    function of MAILCTL_LINK_MINT makes it, or else mailctl, sealed.

    Args:
        settings: provides FRONTEND_URL, SECRET_KEY, MAILCTL_SECRET_KEYS_OLD, MAILCTL_LINK_TOKENS,
            MAILCTL_LINK_PATHS and MAILCTL_LINK_MINT.
        find_user: returns the record of a user in the database of users, for MAILCTL_LINK_MINT; None if there
            is no such database.

    Raises:
        ConfigurationError: FRONTEND_URL is neither https nor http to the local computer, MAILCTL_LINK_PATHS
            is invalid, MAILCTL_LINK_MINT is not a function, or a secret key is too weak for production.
    """

    def __init__(self, settings: Settings, *, find_user: UserLookup | None = None) -> None:
        _origin(settings.frontend_url)
        self.paths = parse_link_paths(settings.mailctl_link_paths, base=settings.frontend_url)
        self._keyring = Keyring(settings.secret_keys)
        self._seals_tokens = settings.seals_link_tokens
        spec = settings.mailctl_link_mint
        self._mint = LinkMint(load_mint(spec), find_user=find_user) if spec else None

    @property
    def may_block(self) -> bool:
        """Whether `make_urls` may wait: for a function of the service, or for the database of users."""
        return self._mint is not None

    def make_urls(self, kind: Kind, content: Content, *, now: datetime) -> dict[str, str]:
        """Return the links of an email by template variable: its own, or else links created at `now`.

        For an email that names its own template, no links are created: its context contains them.

        Raises:
            ConfigurationError: MAILCTL_LINK_MINT fails, or the database of users cannot be read.
            InvalidInput: the user no longer exists.
        """
        if content.template is not None:
            return dict(content.urls)
        return {
            link.variable: content.urls.get(link.variable)
            or self.paths.url(link, self.token(kind, link, content, now=now))
            for link in kind.links
        }

    def makes_new(self, kind: Kind, content: Content) -> bool:
        """Whether a link of an email is made when it is composed, so that each time has another one."""
        if content.template is not None:
            return False
        return any(
            link.variable not in content.urls and (self._seals_tokens or not content.tokens.get(link.token))
            for link in kind.links
        )

    def sample_urls(self, kind: Kind) -> dict[str, str]:
        """Return links for a preview, which lead to the real pages with a token that is not valid."""
        return {link.variable: self.paths.url(link, SAMPLE_TOKEN) for link in kind.links}

    def seal(self, claims: LinkClaims) -> str:
        """Return the token of a link with claims: encrypted, authenticated and bound to the purpose."""
        body = {
            "u": claims.user_id,
            "e": claims.email,
            "a": claims.action,
            "x": int(claims.expires_at.timestamp()),
            "k": claims.token,
        }
        return self._keyring.seal_text(json.dumps(body).encode(), purpose=f"link/{claims.purpose}")

    def verify(self, t: str, *, purpose: str, now: datetime | None = None) -> LinkClaims:
        """Verify a sealed link.

        Args:
            t: the token of the link as it was received.
            purpose: the purpose that the link must have: the `purpose` of a `Link` in the catalog.
            now: the current time; None for the system's.

        Returns:
            The content of the link.

        Raises:
            InvalidLink: it was altered, has expired, or was created for another purpose or by somebody else.
        """
        is_short = isinstance(t, str) and len(t) <= _MAX_SEALED_LENGTH
        plain = self._open(t, f"link/{purpose}") if is_short else None
        if plain is None:
            raise InvalidLink("This link is not valid.", fix="Ask for a new one.")
        body = json.loads(plain)
        expires_at = datetime.fromtimestamp(body["x"], tz=UTC)
        if (now or datetime.now(UTC)).timestamp() > body["x"] + CLOCK_SKEW_SECONDS:
            raise InvalidLink("This link has expired.", fix="Ask for a new one.")
        return LinkClaims(
            purpose=purpose,
            user_id=body["u"],
            email=body["e"],
            action=body["a"],
            expires_at=expires_at,
            token=body["k"],
        )

    def _open(self, t: str, purpose: str) -> bytes | None:
        plain = self._keyring.open_text(t, purpose=purpose)
        # Links in emails that an earlier version has sent are valid until they expire.
        return self._keyring.open_unbound_text(t, purpose=purpose) if plain is None else plain

    def redeem(self, t: str, *, purpose: str, store: UseStore, now: datetime | None = None) -> LinkClaims:
        """Verify a sealed link, and store that it was used.

        Args:
            t: the token of the link as it was received.
            purpose: the purpose that the link must have.
            store: stores which links were used.
            now: the current time; None for the system's.

        Returns:
            The content of the link.

        Raises:
            UsedLink: it was already used.
            InvalidLink: it is not valid; see `verify`.
        """
        claims = self.verify(t, purpose=purpose, now=now)
        until = claims.expires_at + timedelta(seconds=CLOCK_SKEW_SECONDS) + _USE_RETENTION
        if not store.use(_digest(claims), purpose=purpose, until=until):
            raise UsedLink("This link was already used.", fix="Ask for a new one.")
        return claims

    def token(self, kind: Kind, link: Link, content: Content, *, now: datetime) -> str:
        """Return the token of one link of an email, created at `now`; raises what `make_urls` raises."""
        given = content.tokens.get(link.token)
        if given and not self._seals_tokens:
            return given
        if not given and self._mint is not None:
            return self._mint.token(kind, link, content, expires_at=now + link.lifetime)
        claims = LinkClaims(
            purpose=link.purpose,
            user_id=content.user.id,
            email=content.user.email,
            action=link.action,
            expires_at=now + link.lifetime,
            token=given or secrets.token_urlsafe(24),
        )
        return self.seal(claims)


def link_origins(settings: Settings) -> frozenset[str]:
    """Return the origins that links in emails may lead to: those of FRONTEND_URL and MAILCTL_LINK_ORIGINS.

    That of FRONTEND_URL is left out if `links_problem` has something against it.

    Raises:
        ConfigurationError: an origin is neither https nor http to the local computer.
    """
    named = _named_origins(settings)
    return named if links_problem(settings) else named | {_origin(settings.frontend_url)}


def links_problem(settings: Settings) -> str:
    """Return why no link to FRONTEND_URL can be right, in one sentence; "" if links can.

    In production with a mail server, such a link must not lead to the reader's own computer, unless
    MAILCTL_LINK_ORIGINS names the origin: then somebody wants that.

    Raises:
        ConfigurationError: an origin is neither https nor http to the local computer.
    """
    origin = _origin(settings.frontend_url)
    is_wanted = settings.debug or not settings.email_enabled or origin in _named_origins(settings)
    if is_wanted or not is_local_host(urlsplit(origin).hostname or ""):
        return ""
    return f"In production, no link may lead to FRONTEND_URL={origin}: that is the reader's own computer."


def _named_origins(settings: Settings) -> frozenset[str]:
    named = (url.strip(" ") for url in settings.mailctl_link_origins.split(","))
    return frozenset(_origin(url, setting="MAILCTL_LINK_ORIGINS") for url in named if url)


def _origin(text: str, *, setting: str = "FRONTEND_URL") -> str:
    try:
        url = parse_web_url(text)
    except InvalidUrl as error:
        raise ConfigurationError(
            f"{setting} {error}",
            fix=f"{error.fix} An example for FRONTEND_URL and MAILCTL_LINK_ORIGINS: https://shop.example.",
        ) from None
    if url.scheme == "http" and not is_local_host(url.host):
        raise ConfigurationError(
            f"{setting}: {url.origin} is http: others could intercept the links.",
            fix="Use https in FRONTEND_URL and MAILCTL_LINK_ORIGINS; http is for localhost only.",
        )
    return url.origin


def _digest(claims: LinkClaims) -> str:
    """Return a hash that identifies a link; links with the same token of the service count as one."""
    parts = [claims.purpose, claims.user_id, claims.email, claims.token]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@cache
def _service_links() -> Links:
    return Links(Settings.load())


def verify(t: str, *, purpose: str) -> LinkClaims:
    """Verify a link with the settings of this process; see `Links.verify`."""
    return _service_links().verify(t, purpose=purpose)


def redeem(t: str, *, purpose: str, store: UseStore) -> LinkClaims:
    """Verify a link with the settings of this process, and store that it was used; see `Links.redeem`."""
    return _service_links().redeem(t, purpose=purpose, store=store)
