"""Chooses the mail server of each email: by the routes of the settings, and by which servers work."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mailctl.domain.routing import DEFAULT_SERVER, ServerPlan, plan_attempt
from mailctl.errors import LogUnavailable
from mailctl.smtp.classify import is_server_failure, is_unanswered
from mailctl.worker.circuit_breaker import CircuitBreaker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.delivery_log.circuits import Circuit
    from mailctl.delivery_log.email_routes import RoutableEmail
    from mailctl.domain.models import Claim
    from mailctl.domain.outcomes import Outcome
    from mailctl.domain.routing import ServerOrder
    from mailctl.runtime import Runtime

_log = logging.getLogger("mailctl.breaker")


class ServerChoice:
    """Chooses mail servers, and keeps the circuits of all of them up to date.

    Args:
        runtime: the parts of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._routing = runtime.mail_servers.routing
        self._known = runtime.mail_servers.by_name
        self._routes = runtime.email_routes
        self._breakers = {
            name: CircuitBreaker(circuits, clock=runtime.clock)
            for name, circuits in runtime.circuits_by_server.items()
        }
        #: The server that an email is to probe, by id, from the decision to the claim.
        self._probes: dict[str, str] = {}
        #: Whether there is anything to choose.
        self.has_several = len(self._breakers) > 1

    def postpone(self, ids: Sequence[str]) -> dict[str, str]:
        """Postpone those of the emails whose mail servers all fail, unless an email is a probe.

        Returns:
            The reasons, by id.

        Raises:
            LogUnavailable: the delivery log does not answer.
        """
        if not self.has_several:
            return self._postpone_for_only_server(ids)
        failing = self._failing()
        if not failing:
            return {}
        found = {email.id: self._postpone_one(email, failing) for email in self._routes.find(ids)}
        return {email_id: reason for email_id, reason in found.items() if reason}

    def by_server(self, ids: Sequence[str]) -> dict[str, list[str]]:
        """Return emails by the mail server that they would go by now, in the order in which they came.

        Raises:
            LogUnavailable: the delivery log does not answer.
        """
        if not self.has_several:
            return {DEFAULT_SERVER: list(ids)} if ids else {}
        servers = {email.id: self._first_server(email) for email in self._routes.find(ids)}
        found: dict[str, list[str]] = {}
        for email_id in ids:
            found.setdefault(servers.get(email_id, DEFAULT_SERVER), []).append(email_id)
        return found

    def plan(self, email: RoutableEmail) -> tuple[ServerOrder, ServerPlan]:
        """Return the mail servers that may send an email, in order, and the plan of the attempt."""
        order, probed = self._order_of(email), self._probes.pop(email.id, None)
        plan = plan_attempt(order, failing=self._failing_as_known(), probed=probed)
        # The circuit may have opened since the decision that the email does not wait.
        return order, plan or ServerPlan(server=order[0], alternatives=order[1:])

    def may_move_on(self, claim: Claim, outcome: Outcome, tried: Sequence[str]) -> bool:
        """Whether another mail server may get an email, because one has not accepted it and does not work.

        What the server said about the email itself, and what it may have accepted, never moves on.
        """
        may_move = is_server_failure(outcome) or is_unanswered(outcome)
        return may_move and len(tried) <= len(claim.plan.alternatives)

    def move_on(self, claim: Claim, outcome: Outcome, tried: Sequence[str]) -> str | None:
        """Return the next mail server for an email that may move on.

        Args:
            claim: the email.
            outcome: the outcome at the last server.
            tried: the servers that were tried in this attempt.

        Returns:
            The name of the server, recorded durably; None if there is none, or the email must not go there.
        """
        following = None
        try:
            following = self._move(claim, outcome, tried)
            if following is not None:  # otherwise this outcome is that of the attempt, and recorded with it
                self.record_outcome(outcome)
        except LogUnavailable as error:
            _log.warning("email %s: the failure of a mail server is not recorded: %s", claim.id, error)
        return following

    def _move(self, claim: Claim, outcome: Outcome, tried: Sequence[str]) -> str | None:
        failing = self._failing()
        rest = [name for name in claim.plan.alternatives if name not in tried and name not in failing]
        if not rest:
            return None
        text = f"{outcome.server}: {outcome.text_with_stage}; trying {rest[0]} next"
        return rest[0] if self._routes.move(claim, rest[0], text=text) else None

    def record_outcome(self, outcome: Outcome) -> Circuit | None:
        """Update the circuit of the server; see `CircuitBreaker.record_outcome`."""
        breaker = self._breakers.get(outcome.server)
        return None if breaker is None else breaker.record_outcome(outcome)

    def _postpone_for_only_server(self, ids: Sequence[str]) -> dict[str, str]:
        postponed: dict[str, str] = {}
        for breaker in self._breakers.values():
            for email_id in ids:
                if reason := breaker.postpone_if_open(email_id):
                    postponed[email_id] = reason
        return postponed

    def _postpone_one(self, email: RoutableEmail, failing: dict[str, Circuit]) -> str:
        order = self._order_of(email)
        self._probes.pop(email.id, None)  # of an earlier attempt that was not made
        for server in order:
            if server not in failing:
                return ""
            if self._breakers[server].may_probe():
                self._probes[email.id] = server
                return ""
        first = min((failing[server] for server in order), key=lambda circuit: circuit.probe_at)
        [breaker, *_] = [self._breakers[name] for name in order if failing[name] is first]
        labels = [failing[name].server for name in order]
        return breaker.postpone(email.id, first, route=order, servers=labels)

    def _first_server(self, email: RoutableEmail) -> str:
        order = self._order_of(email)
        plan = plan_attempt(order, failing=self._failing_as_known())
        return order[0] if plan is None else plan.server

    def _order_of(self, email: RoutableEmail) -> ServerOrder:
        # A server that the settings do not have any more cannot get it again.
        holder = email.possible_holder if email.possible_holder in self._known else None
        return self._routing.order_for(email.facts, possible_holder=holder)

    def _failing(self) -> dict[str, Circuit]:
        circuits = {name: breaker.read() for name, breaker in self._breakers.items()}
        return {name: circuit for name, circuit in circuits.items() if circuit and circuit.is_open}

    def _failing_as_known(self) -> list[str]:
        """Return the failing servers without asking the log, which may be in a transaction."""
        return [name for name, breaker in self._breakers.items() if breaker.is_open_as_known]
