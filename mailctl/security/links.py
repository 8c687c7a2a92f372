"""Action links: created when an email is sent, and verified when its reader opens them."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlencode, urlsplit

from mailctl.domain.link_validation import is_local_host, url_origin
from mailctl.errors import ConfigurationError, MailctlError
from mailctl.plugins import load_object
from mailctl.security.keyring import Keyring
from mailctl.settings import Settings

if TYPE_CHECKING:
    from mailctl.domain.catalog import Kind, Link
    from mailctl.domain.models import Content

#: The tolerated difference between the clocks of two hosts, in seconds.
CLOCK_SKEW_SECONDS = 60
#: How long the use of a link is stored after the link has expired.
_USE_RETENTION = timedelta(hours=1)
#: The longest value of the query parameter `t`, in characters.
_MAX_T_LENGTH = 1500
_MINTED_T_PATTERN = re.compile(rf"[A-Za-z0-9._~=+/:-]{{8,{_MAX_T_LENGTH}}}")


class InvalidLink(MailctlError):
    """A link is altered, has expired, or was created for another purpose or by somebody else."""


class UsedLink(InvalidLink):
    """A valid link was already used."""


@dataclass(frozen=True, kw_only=True)
class LinkClaims:
    """The verified content of a link."""

    purpose: str
    user_id: str | None
    email: str
    action: str | None
    expires_at: datetime
    #: The service's own token, as it was passed to `EmailService`; otherwise a random one, new for each link.
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


#: A service's own function that returns the query parameter `t` for claims.
LinkMint = Callable[[LinkClaims], str]


class Links:
    """Creates and verifies the action links of a service.

    Args:
        settings: provides FRONTEND_URL, SECRET_KEY, MAILCTL_SECRET_KEYS_OLD and MAILCTL_LINK_MINT.

    Raises:
        ConfigurationError: FRONTEND_URL is neither https nor http to the local computer, MAILCTL_LINK_MINT is
            not a function, or a secret key is too weak for production.
    """

    def __init__(self, settings: Settings) -> None:
        _origin(settings.frontend_url)
        self._base = settings.frontend_url.rstrip("/")
        self._keyring = Keyring(settings.secret_keys)
        self._mint = _load_mint(settings.mailctl_link_mint) if settings.mailctl_link_mint else self.seal

    def make_urls(self, kind: Kind, content: Content, *, now: datetime) -> dict[str, str]:
        """Return the links of an email by template variable: its own, or else links created at `now`.

        For an email that names its own template, no links are created: its context contains them.

        Raises:
            ConfigurationError: MAILCTL_LINK_MINT fails.
        """
        if content.template is not None:
            return dict(content.urls)
        return {
            link.variable: content.urls.get(link.variable) or self._url(link, content, now=now)
            for link in kind.links
        }

    def seal(self, claims: LinkClaims) -> str:
        """Return the query parameter `t` for claims: encrypted, authenticated and bound to the purpose."""
        body = {
            "u": claims.user_id,
            "e": claims.email,
            "a": claims.action,
            "x": int(claims.expires_at.timestamp()),
            "k": claims.token,
        }
        return self._keyring.seal_text(json.dumps(body).encode(), purpose=f"link/{claims.purpose}")

    def verify(self, t: str, *, purpose: str, now: datetime | None = None) -> LinkClaims:
        """Verify a link.

        Args:
            t: the query parameter as it was received.
            purpose: the purpose that the link must have: the `purpose` of a `Link` in the catalog.
            now: the current time; None for the system's.

        Returns:
            The content of the link.

        Raises:
            InvalidLink: it was altered, has expired, or was created for another purpose or by somebody else.
        """
        is_short = isinstance(t, str) and len(t) <= _MAX_T_LENGTH
        plain = self._keyring.open_text(t, purpose=f"link/{purpose}") if is_short else None
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

    def redeem(self, t: str, *, purpose: str, store: UseStore, now: datetime | None = None) -> LinkClaims:
        """Verify a link, and store that it was used.

        Args:
            t: the query parameter as it was received.
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

    def _url(self, link: Link, content: Content, *, now: datetime) -> str:
        claims = LinkClaims(
            purpose=link.purpose,
            user_id=content.user.id,
            email=content.user.email,
            action=link.action,
            expires_at=now + link.lifetime,
            token=content.tokens.get(link.token) or secrets.token_urlsafe(24),
        )
        return f"{self._base}{link.path}?{urlencode({'t': self._mint_t(claims)})}"

    def _mint_t(self, claims: LinkClaims) -> str:
        try:
            t: object = self._mint(claims)
        except Exception as error:
            # The message of the service's exception may contain the claims.
            raise ConfigurationError(
                f"The function of MAILCTL_LINK_MINT raised {type(error).__name__}.",
                fix="Correct the function.",
            ) from None
        if not isinstance(t, str) or not _MINTED_T_PATTERN.fullmatch(t):
            raise ConfigurationError(
                "The function of MAILCTL_LINK_MINT must return a string of"
                f" 8 to {_MAX_T_LENGTH} characters of A-Z, a-z, 0-9 and . _ ~ = + / : -",
                fix="Correct the function.",
            )
        return t


def link_origins(settings: Settings) -> frozenset[str]:
    """Return the origins that links in emails may lead to: those of FRONTEND_URL and MAILCTL_LINK_ORIGINS.

    In production, http origins are left out, because they are on the reader's own computer.

    Raises:
        ConfigurationError: an origin is neither https nor http to the local computer.
    """
    extra = (url.strip() for url in settings.mailctl_link_origins.split(","))
    origins = {_origin(url) for url in (settings.frontend_url, *extra) if url}
    return frozenset(origin for origin in origins if settings.debug or origin.startswith("https:"))


def _origin(url: str) -> str:
    try:
        origin = url_origin(url)
    except ValueError:
        raise ConfigurationError(
            "FRONTEND_URL or MAILCTL_LINK_ORIGINS is not an http or https URL.",
            fix="Correct FRONTEND_URL or MAILCTL_LINK_ORIGINS; an example is https://shop.example.",
        ) from None
    if origin.startswith("http:") and not is_local_host(urlsplit(origin).hostname or ""):
        raise ConfigurationError(
            f"{origin} is http: others could intercept the links.",
            fix="Use https in FRONTEND_URL and MAILCTL_LINK_ORIGINS; http is for localhost only.",
        )
    return origin


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


def _load_mint(spec: str) -> LinkMint:
    mint = load_object(spec, setting="MAILCTL_LINK_MINT")
    if not callable(mint):
        raise ConfigurationError(f"MAILCTL_LINK_MINT={spec} is not callable.", fix="Name a function.")
    return mint
