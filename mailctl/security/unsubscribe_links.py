"""Links by which recipients unsubscribe: sealed, one for each email, valid as long as the secret key is.

A link names the address and the kind itself: it works after the email was deleted from the delivery log.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.domain.link_validation import is_local_host
from mailctl.errors import ConfigurationError
from mailctl.settings.connection_urls.parts import InvalidUrl
from mailctl.settings.connection_urls.web import parse_web_url

if TYPE_CHECKING:
    from mailctl.security.keyring import Keyring
    from mailctl.settings import Settings

SETTING = "MAILCTL_UNSUBSCRIBE_URL"
_PURPOSE = "unsubscribe"
#: The longest token in characters: an address and the name of a kind, sealed.
_MAX_TOKEN = 1024


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """The subscription that a recipient ends: emails of one kind to one address."""

    address: str
    kind: str
    #: The email that carries the link.
    email_id: str


class UnsubscribeLinks:
    """Makes and opens the links by which recipients unsubscribe.

    Args:
        keyring: seals the links.
        url: the address of the endpoint; "" if there is none, so that no link can be made.
    """

    def __init__(self, keyring: Keyring, *, url: str) -> None:
        self._keyring = keyring
        self._url = url

    @property
    def can_make(self) -> bool:
        """Whether there is an endpoint that links can lead to."""
        return bool(self._url)

    def make(self, subscription: Subscription) -> str:
        """Return the link for one email."""
        body = [subscription.address, subscription.kind, subscription.email_id]
        token = self._keyring.seal_text(json.dumps(body).encode(), purpose=_PURPOSE)
        return f"{self._url}?t={token}"

    def open(self, token: str) -> Subscription:
        """Return what the link with this token is for.

        Raises:
            InvalidLink: it was altered, or made by somebody else.
        """
        is_short = len(token) <= _MAX_TOKEN
        plain = self._keyring.open_text(token, purpose=_PURPOSE) if is_short and token.isascii() else None
        if plain is None:
            # Commands that open no link start without it.
            from mailctl.security.links import InvalidLink

            raise InvalidLink("This link is not valid.", fix="Use the link of the newest email.")
        address, kind, email_id = json.loads(plain)
        return Subscription(address=address, kind=kind, email_id=email_id)


def unsubscribe_links_from_settings(settings: Settings, keyring: Keyring) -> UnsubscribeLinks:
    """Return the links for these settings; raises what `unsubscribe_url_from_settings` raises."""
    return UnsubscribeLinks(keyring, url=unsubscribe_url_from_settings(settings))


def unsubscribe_url_from_settings(settings: Settings) -> str:
    """Return the address of the endpoint for unsubscribing; "" if there is none.

    Raises:
        ConfigurationError: MAILCTL_UNSUBSCRIBE_URL is not https, or not a URL.
    """
    text = settings.mailctl_unsubscribe_url
    if not text:
        return ""
    try:
        url = parse_web_url(text)
    except InvalidUrl as error:
        raise ConfigurationError(f"{SETTING} {error}", fix=error.fix) from None
    if url.scheme != "https" and not is_local_host(url.host):
        raise ConfigurationError(
            f"{SETTING} is not https, as mailbox providers require (RFC 8058).",
            fix="Write it as https://HOST/PATH.",
        )
    return f"{url.origin}{url.path}"
