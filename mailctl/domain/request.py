"""A request for emails, as callers make it and the delivery log records it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Json


@dataclass(frozen=True, kw_only=True)
class EmailRequest:
    """A request to send emails of one kind, shared by all of its recipients.

    Every caller makes one: the service, a command, a campaign, a task message and a resend. Callers that
    already have the content of each email, such as a resend, leave the fields from `tokens` to `template`
    empty.
    """

    kind: Kind
    #: The service's own tokens for the links of the kind, by name; missing ones are generated.
    tokens: Mapping[str, str] = field(default_factory=dict)
    #: Template variables.
    context: Mapping[str, Json] = field(default_factory=dict)
    #: Subject and template, for the generic kind only.
    subject: str | None = None
    template: str | None = None
    #: The earliest time to send; None for at once.
    not_before: datetime | None = None
    #: The latest time to send, if it is before the end of the kind's lifetime.
    expires_at: datetime | None = None
    #: A later request with the same key records nothing.
    idempotency_key: str | None = None
    #: The name of the campaign that the emails belong to; no address gets two emails of one campaign.
    campaign: str | None = None
    #: The block of IP addresses that the request came from (`address_block`); None if it is unknown.
    source: str | None = None
    #: The name of a sender of MAILCTL_SENDERS; None for the one of the kind or the tenant.
    sender: str | None = None
    #: The tenant of the service that the emails belong to.
    tenant: str | None = None
    #: The operator who overrides suppressions and rate limits; None if the rules apply.
    forced_by: str | None = None

    @property
    def is_due_at_once(self) -> bool:
        """Whether the emails may be sent as soon as they are recorded."""
        return self.not_before is None

    def earliest_start(self, now: datetime) -> datetime:
        """Return the earliest time to send: now, or a later `not_before`."""
        return max(now, self.not_before) if self.not_before else now
