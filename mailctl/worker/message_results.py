"""Results of messages whose emails are not attempted: a rule stops them, or they cannot become emails."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mailctl.domain.states import State
from mailctl.security.address_masking import mask_addresses_in_text
from mailctl.worker.outcome_recorder import DeliveryResult

if TYPE_CHECKING:
    from mailctl.domain.catalog import Kind

_log = logging.getLogger("mailctl.delivery")


def suppressed_result(email_id: str, reason: str) -> DeliveryResult:
    """Return the result of an email that a rule has stopped, and log it."""
    _log.warning("email %s suppressed: %s", email_id, mask_addresses_in_text(reason))
    return DeliveryResult(email_id=email_id, state=State.SUPPRESSED, text=reason)


def failed_result(email_id: str, kind: Kind, reason: str) -> DeliveryResult:
    """Return the result of an email that failed without an attempt, and log it."""
    text = mask_addresses_in_text(reason)
    _log.error("email %s (%s) failed: %s", email_id, kind.name, text)
    return DeliveryResult(email_id=email_id, state=State.FAILED, text=text)
