"""The common parts of webhooks: the request, its refusals, and the interface of a provider."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from mailctl.errors import MailctlError
from mailctl.feedback.providers.verification import has_shared_secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from mailctl.feedback.models import Feedback

#: How far the clock of a provider may be ahead of ours.
CLOCK_SKEW = timedelta(minutes=5)


class RefusalReason(StrEnum):
    """Why a request to a webhook is refused, or a report in it is dropped."""

    FORGED = "forged"  #: no signature or secret proves that the provider sent it
    STALE = "stale"  #: it was signed longer ago than the provider itself retries
    NOT_ENCRYPTED = "not-encrypted"  #: its secret came without TLS, so others may know it
    OVERSIZED = "oversized"  #: it has more octets than the provider sends
    MALFORMED = "malformed"  #: it does not have the form that the provider documents
    INCOMPLETE = "incomplete"  #: its body did not arrive, or too slowly


_SENTENCES = {
    RefusalReason.FORGED: "The request carries no valid proof that the provider sent it.",
    RefusalReason.STALE: "The request was signed too long ago, or in the future.",
    RefusalReason.NOT_ENCRYPTED: "The secret of this webhook is accepted over HTTPS only.",
    RefusalReason.OVERSIZED: "The request is larger than any that the provider sends.",
    RefusalReason.MALFORMED: "The request does not have the form that the provider documents.",
    RefusalReason.INCOMPLETE: "The body of the request did not arrive in time.",
}


class WebhookRefused(MailctlError):
    """A request to a webhook is refused; nothing of it was recorded.

    Args:
        reason: why.
    """

    def __init__(self, reason: RefusalReason) -> None:
        super().__init__(_SENTENCES[reason])
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRequest:
    """A request to the webhook of a provider, not verified yet."""

    #: By name in lower case.
    headers: Mapping[str, str]
    body: bytes
    #: Whether it came over HTTPS.
    is_encrypted: bool
    #: Aware, UTC.
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedWebhook:
    """The reports of a verified request."""

    reports: tuple[Feedback, ...] = ()
    #: How many of its events do not have the documented form.
    malformed: int = 0


class WebhookProvider(ABC):
    """Verifies and reads the webhooks of one provider.

    Args:
        secrets: what the provider signs or sends; each one is valid.
    """

    #: As in MAILCTL_WEBHOOK_SECRETS, in the path, and in `Feedback.source`.
    name: ClassVar[str]
    #: The most octets that the body of a request may have.
    max_body_bytes: ClassVar[int] = 1_048_576
    #: Whether it may have to ask a host of the provider before it knows who sent a request.
    uses_network: ClassVar[bool] = False

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = tuple(secrets)

    def receive(self, request: WebhookRequest) -> ParsedWebhook:
        """Return what a request reports, once it is known that the provider sent it.

        Raises:
            WebhookRefused: the request is forged, too old, too large or malformed.
        """
        if len(request.body) > self.max_body_bytes:
            raise WebhookRefused(RefusalReason.OVERSIZED)
        self.verify(request)
        return self.parse(request)

    @abstractmethod
    def verify(self, request: WebhookRequest) -> None:
        """Verify that the provider sent the request, and recently.

        Raises:
            WebhookRefused: it did not, or that is not certain.
        """

    @abstractmethod
    def parse(self, request: WebhookRequest) -> ParsedWebhook:
        """Return what a verified request reports.

        Raises:
            WebhookRefused: nothing in it has the documented form.
        """


class UnsignedProvider(WebhookProvider):
    """A provider that signs nothing: a secret in each request, over HTTPS only, proves who sends it."""

    @override
    def verify(self, request: WebhookRequest) -> None:
        if not request.is_encrypted:
            raise WebhookRefused(RefusalReason.NOT_ENCRYPTED)
        if not has_shared_secret(request.headers, self._secrets):
            raise WebhookRefused(RefusalReason.FORGED)


def require_fresh(signed_at: datetime | None, request: WebhookRequest, *, window: timedelta) -> None:
    """Refuse a request that was signed longer ago than the provider retries, or in the future.

    Args:
        signed_at: the signed time, aware; None if the request has none that can be read.
        request: the request.
        window: how long after that time the provider may send it.

    Raises:
        WebhookRefused: it is too old or too new, or has no time.
    """
    if signed_at is None:
        raise WebhookRefused(RefusalReason.MALFORMED)
    if not -CLOCK_SKEW <= request.received_at - signed_at <= window + CLOCK_SKEW:
        raise WebhookRefused(RefusalReason.STALE)


def collect(events: Iterable[Iterator[Feedback]]) -> ParsedWebhook:
    """Return the reports of several events; one that is malformed does not spoil the others.

    Args:
        events: reads one event each when it is iterated, and raises `WebhookRefused` if that is malformed.
    """
    reports: list[Feedback] = []
    malformed = 0
    for event in events:
        try:
            reports.extend(event)
        except WebhookRefused:
            malformed += 1
    return ParsedWebhook(reports=tuple(reports), malformed=malformed)
