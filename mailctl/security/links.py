"""Action links: made when an email goes out, and read when its reader comes back."""

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

from mailctl.domain.validation import is_local_host, url_origin
from mailctl.errors import ConfigurationError, MailctlError
from mailctl.plugins import load_object
from mailctl.security.keyring import Keyring
from mailctl.settings import Settings

if TYPE_CHECKING:
    from mailctl.domain.catalog import Kind, Link
    from mailctl.domain.models import Content

#: Clocks of the host that makes a link and the host that reads it may differ by this many seconds.
CLOCK_SKEW_SECONDS = 60
#: How long the use of a link is remembered after the link has died by itself.
_USE_RETENTION = timedelta(hours=1)
#: Characters of a `t` at most; what a service's own maker gives may be as long.
_MAX_T_LENGTH = 1500
_MINTED_T_PATTERN = re.compile(rf"[A-Za-z0-9._~=+/:-]{{8,{_MAX_T_LENGTH}}}")


class InvalidLink(MailctlError):
    """The `t` of a link is altered, expired, made for another purpose, or not ours."""


class UsedLink(InvalidLink):
    """The link was good, and was used before."""


@dataclass(frozen=True, kw_only=True)
class LinkClaims:
    """What the `t` of a link says, once its seal has been checked."""

    purpose: str
    user_id: str | None
    email: str
    action: str | None
    expires_at: datetime
    #: The service's own token, as it was given to `EmailService`; else one of ours, new for each link.
    token: str


class UseStore(Protocol):
    """Remembers which links were used; `mailctl.delivery_log.used_links` has one for SQL databases."""

    def use(self, digest: str, *, purpose: str, until: datetime) -> bool:
        """Remember a use, unless there was one before; of many at the same moment, one is the first.

        Args:
            digest: stands for the link; nothing can be read from it.
            purpose: of the link.
            until: when the use may be forgotten.

        Returns:
            Whether this is the first use.
        """


#: A service's own maker of `t`: gets the claims, returns the value of the query parameter.
LinkMint = Callable[[LinkClaims], str]


class Links:
    """Makes and reads the action links of one service.

    Args:
        settings: FRONTEND_URL, SECRET_KEY (and earlier ones), MAILCTL_LINK_MINT.

    Raises:
        ConfigurationError: FRONTEND_URL is not https (nor http to this computer), MAILCTL_LINK_MINT names
            nothing that can be called, or the secret keys protect nothing.
    """

    def __init__(self, settings: Settings) -> None:
        _origin(settings.frontend_url)
        self._base = settings.frontend_url.rstrip("/")
        self._keyring = Keyring(settings.secret_keys)
        self._mint = _load_mint(settings.mailctl_link_mint) if settings.mailctl_link_mint else self.seal

    def make_urls(self, kind: Kind, content: Content, *, now: datetime) -> dict[str, str]:
        """Return the links of an email by template variable: those it came with, else minted at `now`.

        None are minted for an email that names its own template: it brings its links in its context.
        """
        if content.template is not None:
            return dict(content.urls)
        return {
            link.variable: content.urls.get(link.variable) or self._url(link, content, now=now)
            for link in kind.links
        }

    def seal(self, claims: LinkClaims) -> str:
        """Return the `t` for these claims: encrypted, authenticated, bound to the purpose."""
        body = {
            "u": claims.user_id,
            "e": claims.email,
            "a": claims.action,
            "x": int(claims.expires_at.timestamp()),
            "k": claims.token,
        }
        return self._keyring.seal_text(json.dumps(body).encode(), purpose=f"link/{claims.purpose}")

    def verify(self, t: str, *, purpose: str, now: datetime | None = None) -> LinkClaims:
        """Read the `t` of a link.

        Args:
            t: the query parameter, as it came.
            purpose: what it must have been made for: the `purpose` of a link in `mailctl.domain.catalog`.
            now: the time to judge expiry by; None means the clock.

        Returns:
            What the link says.

        Raises:
            InvalidLink: it is not a link of ours, was altered, was made for another purpose, or has expired.
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
        """Read the `t` of a link and use it up; see `verify` for the rest.

        Raises:
            UsedLink: it was used before.
            InvalidLink: as `verify`.
        """
        claims = self.verify(t, purpose=purpose, now=now)
        until = claims.expires_at + timedelta(seconds=CLOCK_SKEW_SECONDS) + _USE_RETENTION
        if not store.use(_digest(claims), purpose=purpose, until=until):
            raise UsedLink("This link was used before.", fix="Ask for a new one.")
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
            # Somebody else's code, whose words may hold what it was given.
            raise ConfigurationError(
                f"MAILCTL_LINK_MINT raises {type(error).__name__}.", fix="Mend the function."
            ) from None
        if not isinstance(t, str) or not _MINTED_T_PATTERN.fullmatch(t):
            raise ConfigurationError(
                f"MAILCTL_LINK_MINT gives no 8 to {_MAX_T_LENGTH} of A-Z, a-z, 0-9 and . _ ~ = + / : -",
                fix="Mend the function.",
            )
        return t


def link_origins(settings: Settings) -> frozenset[str]:
    """Return the origins that a ready-made link may lead to: FRONTEND_URL's and MAILCTL_LINK_ORIGINS.

    In production those of http, which lead their reader to the reader's own computer, are not among them.

    Raises:
        ConfigurationError: one of them is not an https URL, nor one of http to this computer.
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
            fix="Correct FRONTEND_URL or MAILCTL_LINK_ORIGINS: https://shop.example is one.",
        ) from None
    if origin.startswith("http:") and not is_local_host(urlsplit(origin).hostname or ""):
        raise ConfigurationError(
            f"{origin} is http: whoever reads along could use the links.",
            fix="Give FRONTEND_URL and MAILCTL_LINK_ORIGINS https; http is for localhost.",
        )
    return origin


def _digest(claims: LinkClaims) -> str:
    """Return what stands for a link: two emails that carry the same token of the service are one use."""
    parts = [claims.purpose, claims.user_id, claims.email, claims.token]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@cache
def _service_links() -> Links:
    return Links(Settings.load())


def verify(t: str, *, purpose: str) -> LinkClaims:
    """Read the `t` of a link with the settings of this process; see `Links.verify`."""
    return _service_links().verify(t, purpose=purpose)


def redeem(t: str, *, purpose: str, store: UseStore) -> LinkClaims:
    """Read the `t` of a link and use it up, with the settings of this process; see `Links.redeem`."""
    return _service_links().redeem(t, purpose=purpose, store=store)


def _load_mint(spec: str) -> LinkMint:
    mint = load_object(spec, setting="MAILCTL_LINK_MINT")
    if not callable(mint):
        raise ConfigurationError(f"MAILCTL_LINK_MINT {spec} is not callable.", fix="Name a function.")
    return mint
