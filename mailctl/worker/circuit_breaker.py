"""The circuit breaker: while the mail server fails, it postpones emails and lets one through as a probe."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.domain.outcomes import OutcomeKind, ReplyCategory
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.routing import join_order
from mailctl.smtp.classify import is_server_failure, is_unanswered, leaves_fault_open

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from mailctl.delivery_log.circuits import Circuit, Circuits
    from mailctl.domain.outcomes import Outcome
    from mailctl.domain.routing import ServerOrder

_log = logging.getLogger("mailctl.breaker")

#: Seconds for which the state of the circuit is cached.
_CACHE_SECONDS = 1.0
#: The time after which the publisher of an email has recorded that it is queued.
_MARK_QUEUED_GRACE = timedelta(seconds=3)
#: Outcomes that do not prove that the server works.
_WITHOUT_REPLY = frozenset({OutcomeKind.AMBIGUOUS, OutcomeKind.INTERRUPTED})


class CircuitBreaker:
    """The circuit breaker of one process, whose threads share it: each decision reads the circuit once.

    Args:
        circuits: the circuits in the delivery log; None if nothing is sent by SMTP.
        clock: returns the current time of the log, aware.
    """

    def __init__(self, circuits: Circuits | None, *, clock: Callable[[], datetime]) -> None:
        self._circuits = circuits
        self._clock = clock
        self._read_at = 0.0
        self._circuit: Circuit | None = None

    def postpone_if_open(self, email_id: str) -> str:
        """Postpone an email while the circuit is open, unless the email is the probe.

        Returns:
            The reason; "" if the email may be sent, or if there is no such email to postpone.

        Raises:
            LogUnavailable: the delivery log does not answer.
        """
        circuit = self.read()
        if self._circuits is None or circuit is None or not circuit.is_open or self._circuits.acquire_probe():
            return ""
        return self.postpone(email_id, circuit)

    def postpone(
        self, email_id: str, circuit: Circuit, *, route: ServerOrder = (), servers: Collection[str] = ()
    ) -> str:
        """Postpone an email until the next probe.

        Args:
            email_id: the id of the email.
            circuit: the open circuit, as the caller has read it: another thread may close it at any time.
            route: the mail servers that it waits for; () if there is only one.
            servers: what the log calls them, as for `Circuits.postpone_email`.

        Returns:
            The reason; "" if there is no such email to postpone, or the circuit is closed in the log.
        """
        if self._circuits is None:
            return ""
        reason, until = str(circuit), max(circuit.probe_at, self._clock() + _MARK_QUEUED_GRACE)
        if self._circuits.postpone_email(
            email_id, until=until, reason=reason, route=join_order(route) or None, servers=servers
        ):
            return reason
        self._read_at = 0.0  # the circuit may have closed
        return ""

    def may_probe(self) -> bool:
        """Acquire the right to probe the server with one email, if a probe is due."""
        circuit = self._circuit
        if self._circuits is None or circuit is None or circuit.probe_at > self._clock():
            return False
        is_acquired = self._circuits.acquire_probe()
        self._read_at = 0.0  # the time of the next probe has changed
        return is_acquired

    @property
    def is_open_as_known(self) -> bool:
        """Whether the circuit was open when it was last read."""
        circuit = self._circuit
        return circuit is not None and circuit.is_open

    def record_outcome(self, outcome: Outcome) -> Circuit | None:
        """Update the circuit, and return it if the attempt failed because of the server.

        Raises:
            LogUnavailable: the delivery log does not answer.
        """
        if self._circuits is None or outcome.reason_code is ReasonCode.SEND_RATE:
            return None  # the server was not asked
        if is_server_failure(outcome):
            return self._record_failure(self._circuits, outcome)
        proves_nothing = outcome.kind in _WITHOUT_REPLY or is_unanswered(outcome)
        circuit = None if proves_nothing else self.read()
        if circuit is None:
            return None
        if circuit.is_about_emails and outcome.kind is not OutcomeKind.ACCEPTED:
            # A refused recipient does not prove that others are accepted.
            is_same = circuit.is_open and leaves_fault_open(outcome)
            return self._record_failure(self._circuits, outcome) if is_same else None
        released = self._circuits.record_success()
        _log.info("the mail server works again; released %d emails that waited for it", released)
        self._circuit = None
        return None

    def _record_failure(self, circuits: Circuits, outcome: Outcome) -> Circuit:
        circuit = circuits.record_failure(
            outcome.text_with_stage,
            stage=outcome.stage or None,
            category=outcome.category,
            opens_at_once=outcome.category is ReplyCategory.QUOTA,
        )
        self._circuit, self._read_at = circuit, time.monotonic()
        if circuit.has_just_opened:
            _log.error("%s", circuit)
        return circuit

    def read(self) -> Circuit | None:
        """Return the circuit, read at most a second ago; None if no failure is recorded.

        Raises:
            LogUnavailable: the delivery log does not answer.
        """
        if self._circuits is not None and time.monotonic() - self._read_at > _CACHE_SECONDS:
            circuit = self._circuits.read()
            self._circuit, self._read_at = circuit, time.monotonic()
            return circuit
        return self._circuit
