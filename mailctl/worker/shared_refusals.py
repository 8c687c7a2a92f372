"""Watches for a refusal that is the same for everybody: then the fault is ours, and no email may fail."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.domain.outcomes import OPEN_CATEGORIES
from mailctl.domain.shared_refusals import EndedAttempt, find_shared_refusal, fingerprint
from mailctl.smtp.classify import reply_category
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.delivery_log.circuits import Circuit, Circuits
    from mailctl.delivery_log.refusals import LoggedEnd
    from mailctl.runtime import Runtime

_log = logging.getLogger("mailctl.breaker")

#: How far back refusals are compared.
WINDOW = timedelta(hours=1)
#: Events that are looked at again: their numbers may be smaller than that of one that was committed before.
_LATE_EVENTS = 500


class SharedRefusalWatch:
    """Opens the circuit when everybody is refused alike, and lets the refused emails be tried once more.

    Args:
        runtime: the parts of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._circuits = runtime.circuits_by_server
        self._refusals = runtime.refusals
        self._clock = runtime.clock
        self._seen = 0

    def check(self) -> None:
        """Compare the latest refusals, if there is a new one.

        Raises:
            LogUnavailable: the delivery log does not answer.
        """
        if not self._circuits or (newest := self._refusals.last_event()) == self._seen:
            return
        if not self._seen or self._refusals.has_refusal(after=self._seen - _LATE_EVENTS):
            ends = self._refusals.recent_ends(since=self._clock() - WINDOW)
            for server, circuits in self._circuits.items():
                self._check_server(server, circuits, [end for end in ends if end.server == server])
        self._seen = newest

    def _check_server(self, server: str, circuits: Circuits, ends: Sequence[LoggedEnd]) -> None:
        circuit = circuits.read() if ends else None
        is_open = circuit is not None and circuit.is_open
        # What opened the circuit once does not open it again, when it has just closed.
        ends = [end for end in ends if is_open or end.reply is None or not end.has_been_returned]
        refusal = find_shared_refusal([_as_attempt(end) for end in ends])
        if refusal is None:
            return
        row = _row_of(ends, refusal)
        opened = circuit if circuit and is_open else _open(circuits, row[0])
        self._return(opened, refusal, row, server=server)

    def _return(self, circuit: Circuit, refusal: str, row: Sequence[LoggedEnd], *, server: str) -> None:
        refused = self._refusals.refused_once(since=row[-1].at, server=server)
        ids = [email_id for email_id, reply in refused.items() if fingerprint(reply) == refusal]
        if not ids:
            return
        text = f"every recipient was refused, so this email is tried once more: {circuit.reason}"
        returned = self._refusals.return_once(ids, until=circuit.probe_at, text=text)
        _log.warning(
            "%s wait for the mail server to accept email again", pluralize(returned, "refused email")
        )


def _open(circuits: Circuits, last: LoggedEnd) -> Circuit:
    reply = last.reply
    circuit = circuits.record_failure(
        f"at {last.stage}: {reply} (as for every recipient)",
        stage=last.stage or None,
        category=None if reply is None else reply_category(reply, stage=last.stage),
        opens_at_once=True,
    )
    if circuit.has_just_opened:
        _log.error("%s", circuit)
    return circuit


def _as_attempt(end: LoggedEnd) -> EndedAttempt:
    if end.reply is None:
        return EndedAttempt(recipient=end.recipient, refusal=None)
    is_open = reply_category(end.reply, stage=end.stage) in OPEN_CATEGORIES
    return EndedAttempt(recipient=end.recipient, refusal=fingerprint(end.reply), is_open=is_open)


def _row_of(ends: Sequence[LoggedEnd], refusal: str) -> list[LoggedEnd]:
    """Return the refusals of everybody since an email was last accepted, newest first."""
    row: list[LoggedEnd] = []
    for end in ends:
        if end.reply is None:
            break
        if fingerprint(end.reply) == refusal:
            row.append(end)
    return row
