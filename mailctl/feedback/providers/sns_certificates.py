"""Fetches what Amazon SNS refers to, from its own hosts alone: certificates, and confirmations."""

from __future__ import annotations

import http.client
import re
import ssl
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mailctl.errors import NotFound, ServiceUnavailable
from mailctl.feedback.providers.webhook import RefusalReason, WebhookRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.x509 import Certificate

_PATH = re.compile(r"/SimpleNotificationService-[0-9A-Za-z]{1,64}\.pem")
_TIMEOUT_SECONDS = 3.0
_MAX_BYTES = 65_536
#: A forged request names a certificate that does not exist: of those, few are looked for.
_MAX_CERTIFICATES = 16
_SECONDS_BETWEEN_MISSES = 10.0

#: The Amazon hosts of a region end so.
_DOMAINS = ("amazonaws.com", "amazonaws.com.cn")


class Certificates:
    """The certificates of Amazon SNS, fetched once each.

    Args:
        fetch: returns what an https URL leads to.
    """

    def __init__(self, fetch: Callable[[str], bytes] | None = None) -> None:
        self._fetch = fetch or fetch_https
        self._known: dict[str, Certificate] = {}
        self._next_miss_at = 0.0
        self._lock = threading.Lock()

    def find(self, url: str, *, region: str) -> Certificate:
        """Return the certificate at a URL.

        Args:
            url: as the message names it.
            region: the region of its topic, such as us-east-1.

        Raises:
            WebhookRefused: the URL is none of Amazon SNS in that region, or leads to no certificate.
            ServiceUnavailable: it cannot be fetched now.
        """
        if not is_sns_url(url, region=region) or not _PATH.fullmatch(urlsplit(url).path):
            raise WebhookRefused(RefusalReason.FORGED)
        with self._lock:
            if url not in self._known:
                self._known[url] = self._load(url)
                if len(self._known) > _MAX_CERTIFICATES:
                    del self._known[next(iter(self._known))]
            return self._known[url]

    def _load(self, url: str) -> Certificate:
        from cryptography.x509 import load_pem_x509_certificate

        if time.monotonic() < self._next_miss_at:
            raise ServiceUnavailable("A certificate of Amazon SNS was not found a moment ago.")
        self._next_miss_at = time.monotonic() + _SECONDS_BETWEEN_MISSES
        try:
            certificate = load_pem_x509_certificate(self._fetch(url))
        except (NotFound, ValueError):
            raise WebhookRefused(RefusalReason.FORGED) from None
        self._next_miss_at = 0.0
        return certificate


def is_sns_url(url: str, *, region: str) -> bool:
    """Whether a URL leads to Amazon SNS in a region, over HTTPS and without a port or credentials."""
    hosts = [f"sns.{region}.{domain}" for domain in _DOMAINS]
    if any(not "!" <= char <= "~" for char in url):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and parts.netloc in hosts and not parts.fragment


def fetch_https(url: str) -> bytes:
    """Return what an https URL leads to, without following redirects.

    Args:
        url: a URL for which `is_sns_url` is true.

    Raises:
        NotFound: it leads nowhere.
        ServiceUnavailable: it cannot be fetched in 3 seconds.
    """
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPSConnection(
        parts.netloc, timeout=_TIMEOUT_SECONDS, context=ssl.create_default_context()
    )
    try:
        connection.request("GET", target)
        response = connection.getresponse()
        body = response.read(_MAX_BYTES)
    except (OSError, http.client.HTTPException) as error:
        reason = f"{parts.netloc} cannot be reached: {type(error).__name__}."
        raise ServiceUnavailable(reason, fix="Allow connections to it from this host.") from None
    finally:
        connection.close()
    if 400 <= response.status < 500:
        raise NotFound(f"{parts.netloc} answers with {response.status}.")
    if response.status != http.HTTPStatus.OK:
        raise ServiceUnavailable(f"{parts.netloc} answers with {response.status}.")
    return body
