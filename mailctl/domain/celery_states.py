"""The Celery states of emails: workers store them, and `status` shows them without asking the backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.domain.states import State

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The state of the Celery result of an email after an attempt, by its state in the log.
CELERY_STATES: Mapping[State, str] = {
    State.SENT: "SUCCESS",
    State.CAPTURED: "SUCCESS",
    # The result is stored when a mail server accepts the email, and not changed by feedback.
    State.DELIVERED: "SUCCESS",
    State.BOUNCED: "SUCCESS",
    State.COMPLAINED: "SUCCESS",
    # A deferred email is pending when it is due again.
    State.PENDING: "RETRY",
    State.DEFERRED: "RETRY",
    State.HELD: "RETRY",
    State.FAILED: "FAILURE",
    State.EXPIRED: "FAILURE",
    State.SUPPRESSED: "FAILURE",
}
