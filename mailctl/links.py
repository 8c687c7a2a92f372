"""Action links: made when an email goes out, and read when its reader comes back."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from mailctl.errors import ConfigurationError, MailctlError
from mailctl.inputs import url_origin
from mailctl.keyring import Keyring
from mailctl.plugin import load_object
from mailctl.settings import Settings

if TYPE_CHECKING:
    from mailctl.catalog import Kind, Link
    from mailctl.message import Content

#: Clocks of the host that makes a link and the host that reads it may differ by this many seconds.
CLOCK_SKEW_SECONDS = 60


class InvalidLink(MailctlError):
    """The `t` of a link is altered, expired, made for another purpose, or not ours."""


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


#: A service's own maker of `t`: gets the claims, returns the value of the query parameter.
LinkMint = Callable[[LinkClaims], str]


class Links:
    """Makes and reads the action links of one service.

    Args:
        settings: FRONTEND_URL, SECRET_KEY (and earlier ones), MAILCTL_LINK_MINT.

    Raises:
        ConfigurationError: MAILCTL_LINK_MINT names nothing that can be called.
    """

    def __init__(self, settings: Settings) -> None:
        self._base = settings.frontend_url.rstrip("/")
        self._keyring = Keyring(settings.secret_keys)
        self._mint = _load_mint(settings.mailctl_link_mint) if settings.mailctl_link_mint else self.seal

    def urls(self, kind: Kind, content: Content, *, now: datetime) -> dict[str, str]:
        """Return the links of an email by template variable: those it came with, else minted at `now`."""
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
        return self._keyring.seal(json.dumps(body).encode(), purpose=f"link/{claims.purpose}").decode()

    def verify(self, t: str, *, purpose: str, now: datetime | None = None) -> LinkClaims:
        """Read the `t` of a link.

        Args:
            t: the query parameter, as it came.
            purpose: what it must have been made for: the `purpose` of a link in `mailctl.catalog`.
            now: the time to judge expiry by; None means the clock.

        Returns:
            What the link says.

        Raises:
            InvalidLink: it is not a link of ours, was altered, was made for another purpose, or has expired.
        """
        plain = self._keyring.open(t.encode("ascii", "replace"), purpose=f"link/{purpose}")
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

    def _url(self, link: Link, content: Content, *, now: datetime) -> str:
        claims = LinkClaims(
            purpose=link.purpose,
            user_id=content.user.id,
            email=content.user.email,
            action=link.action,
            expires_at=now + link.lifetime,
            token=content.tokens.get(link.token) or secrets.token_urlsafe(24),
        )
        return f"{self._base}{link.path}?{urlencode({'t': self._mint(claims)})}"


def link_origins(settings: Settings) -> frozenset[str]:
    """Return the origins that a ready-made link may lead to: FRONTEND_URL's and MAILCTL_LINK_ORIGINS.

    Raises:
        ConfigurationError: one of them is not an http(s) URL.
    """
    extra = (url.strip() for url in settings.mailctl_link_origins.split(","))
    try:
        return frozenset(url_origin(url) for url in (settings.frontend_url, *extra) if url)
    except ValueError as error:
        raise ConfigurationError(
            f"{error} is not an http or https URL.", fix="Correct FRONTEND_URL or MAILCTL_LINK_ORIGINS."
        ) from None


@cache
def _service_links() -> Links:
    return Links(Settings.load())


def verify(t: str, *, purpose: str) -> LinkClaims:
    """Read the `t` of a link with the settings of this process; see `Links.verify`."""
    return _service_links().verify(t, purpose=purpose)


def _load_mint(spec: str) -> LinkMint:
    mint = load_object(spec, setting="MAILCTL_LINK_MINT")
    if not callable(mint):
        raise ConfigurationError(f"MAILCTL_LINK_MINT {spec} is not callable.", fix="Name a function.")
    return mint
