"""What a worker does about a mail server that does not work: keeps emails back, and lets one through."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mailctl.domain.models import OutcomeKind
from mailctl.smtp.classify import is_server_failure

if TYPE_CHECKING:
    from mailctl.delivery_log.circuits import Circuit, Circuits
    from mailctl.delivery_log.outbox import Outbox
    from mailctl.domain.models import Outcome

_log = logging.getLogger("mailctl.breaker")

#: Seconds for which one look at the circuit is taken for true.
_CACHE_SECONDS = 1.0
#: How long after an email its publisher may still be about to note that it was published.
_MARK_QUEUED_GRACE = timedelta(seconds=3)


class CircuitBreaker:
    """The circuit as one process sees it.

    Args:
        circuits: of the delivery log; None where nothing is sent by SMTP.
        outbox: of the same log.
    """

    def __init__(self, circuits: Circuits | None, outbox: Outbox) -> None:
        self._circuits = circuits
        self._outbox = outbox
        self._looked_at = 0.0
        self._circuit: Circuit | None = None

    def postpone_if_open(self, email_id: str) -> str:
        """Put an email back into the log if the server is not to be tried now.

        Returns:
            Why; "" if the email may be sent, or is not there to be kept.
        """
        circuit = self._read_circuit()
        if self._circuits is None or circuit is None or not circuit.is_open or self._circuits.acquire_probe():
            return ""
        reason = str(circuit)
        until = max(circuit.probe_at, datetime.now(UTC) + _MARK_QUEUED_GRACE)
        is_kept = self._outbox.postpone_for_outage(email_id, until=until, reason=reason)
        return reason if is_kept else ""

    def record_outcome(self, outcome: Outcome) -> Circuit | None:
        """Learn from an attempt; return the circuit if the attempt failed because of the server."""
        if self._circuits is None:
            return None
        if is_server_failure(outcome):
            return self._record_failure(self._circuits, outcome)
        if outcome.kind is not OutcomeKind.AMBIGUOUS and self._read_circuit() is not None:
            self._circuits.record_success()
            released = self._outbox.release_after_outage()
            _log.info("the mail server works again; %d emails go out", released)
            self._circuit = None
        return None

    def _record_failure(self, circuits: Circuits, outcome: Outcome) -> Circuit:
        was_open = self._circuit is not None and self._circuit.is_open
        self._circuit = circuits.record_failure(outcome.text_with_stage, stage=outcome.stage or None)
        self._looked_at = time.monotonic()
        if self._circuit.is_open and not was_open:
            _log.error("%s", self._circuit)
        return self._circuit

    def _read_circuit(self) -> Circuit | None:
        if self._circuits is not None and time.monotonic() - self._looked_at > _CACHE_SECONDS:
            self._circuit = self._circuits.read()
            self._looked_at = time.monotonic()
        return self._circuit
