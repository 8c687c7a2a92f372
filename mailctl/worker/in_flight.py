"""The emails of groups that a process is sending: each is recorded soon after it ends, whatever others do."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mailctl.errors import LogUnavailable
from mailctl.timefmt import pluralize
from mailctl.worker.in_flight_limits import Pace, campaign_limit, group_limit, worthwhile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from mailctl.delivery_log.claims import Claims
    from mailctl.domain.models import Claim
    from mailctl.worker.outcome_recorder import AttemptResult, DeliveryResult, OutcomeRecorder

_log = logging.getLogger("mailctl.delivery")

#: Seconds for which the first email that has ended waits for others, to be recorded together with them.
LINGER_SECONDS = 0.02
#: Seconds between two looks for emails that wait in the log.
LOOK_SECONDS = 0.1
#: Seconds after which a thread that waits for room looks again: pace and sessions may have changed.
_LOOK_FOR_ROOM_SECONDS = 0.05
#: Emails that are enough to be recorded at once, and at most.
_ENOUGH, _MOST = 25, 100
#: Emails that have ended and are not recorded, beyond which no others are claimed.
_MAX_UNRECORDED = 100


class CountStuck(Protocol):
    """Counts the emails that a mail server has had for long without a reply."""

    def __call__(self, server: str, /, *, is_campaign: bool) -> int:
        """Return how many of campaigns, or how many others, there are."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Emails that were claimed together."""

    claims: Sequence[Claim]
    is_campaign: bool
    #: Called with the results, a few at a time, when they are recorded.
    on_recorded: Callable[[Sequence[DeliveryResult]], object] = field(repr=False)


@dataclass
class _Load:
    """The emails that a process is sending by one mail server, and how fast they end."""

    pace: Pace = field(default_factory=Pace)
    count: int = 0
    campaign_count: int = 0

    def begin(self, *, is_campaign: bool) -> None:
        """Count an email."""
        self.count += 1
        self.campaign_count += is_campaign

    def end(self, *, is_campaign: bool, now: float) -> None:
        """Count it no more."""
        self.count -= 1
        self.campaign_count -= is_campaign
        self.pace.note_finished(now)

    def limit_and_room(
        self, *, is_campaign: bool, sessions: int, stuck: int, stuck_campaign: int, now: float
    ) -> tuple[int, int]:
        """Return how many emails may be in flight, and how many more that are; other email goes first.

        Those that are stuck have their sessions for as long as the server says nothing: they count neither
        as sessions nor as emails. If all are, one more shows whether the server allows another session.

        Args:
            stuck: how many emails are, but for those of campaigns.
            stuck_campaign: how many emails of campaigns are.
        """
        pace, sessions = self.pace.per_second(now), max(1, sessions - stuck - stuck_campaign)
        others = max(0, self.count - self.campaign_count - stuck)
        if is_campaign:
            limit = campaign_limit(pace=pace, sessions=sessions)
            return limit, limit - others - max(0, self.campaign_count - stuck_campaign)
        limit = group_limit(pace=pace, sessions=sessions)
        return limit, limit - others


class EmailsInFlight:
    """Counts the emails that are being sent, keeps their leases, and records them in a thread of its own.

    So a slow recipient, or a mail server that does not answer, keeps only its own email waiting.

    Args:
        recorder: records the outcomes.
        claims: extends the leases.
        lease_seconds: how long a lease is.
        capacity: returns how many messages can be sent at a time by the mail server of a name.
        count_stuck: returns how many of these, of campaigns or others, it has had for long without a reply.
        take_waiting: begins emails that wait in the log, as far as there is room; returns whether to look
            again soon.
    """

    def __init__(
        self,
        recorder: OutcomeRecorder,
        claims: Claims,
        *,
        lease_seconds: float,
        capacity: Callable[[str], int],
        count_stuck: CountStuck,
        take_waiting: Callable[[], bool] = lambda: False,
    ) -> None:
        self._recorder = recorder
        self._claims = claims
        self._lease_seconds = lease_seconds
        self._capacity = capacity
        self._count_stuck = count_stuck
        self._take_waiting = take_waiting
        #: Whether to look for emails that wait in the log.
        self._is_looking = False
        lock = threading.RLock()
        #: The recorder waits for the one, and all other threads for the other: for room, or until nothing is
        #: in flight. To wake both with each email would take as long as much of sending it.
        self._has_work = threading.Condition(lock)
        self._changed = threading.Condition(lock)
        #: How many emails have to end until there may be the room that some thread waits for.
        self._missing = 0
        self._sending: dict[tuple[str, str], tuple[Claim, Group]] = {}
        self._loads: dict[str, _Load] = {}
        self._ended: list[tuple[Claim, AttemptResult, Group]] = []
        #: How many of those that have ended are being recorded.
        self._recording = 0
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._extend_at = 0.0

    def wait_for_room(self, *, is_campaign: bool, wanted: Mapping[str, int], until: float) -> tuple[str, int]:
        """Return a mail server, and how many more emails for it may be claimed; 0 without room in time.

        Args:
            is_campaign: whether they belong to a campaign.
            wanted: how many there are, by the name of the mail server that they would go by; one at least.
            until: the `time.monotonic` until which to wait for room that is worth a claim.
        """
        with self._changed:
            while True:
                found, missing = self._most_room(is_campaign=is_campaign, wanted=wanted)
                remaining = until - time.monotonic()
                if missing <= 0 or remaining <= 0:
                    return found
                self._missing = min(missing, self._missing) if self._missing > 0 else missing
                self._changed.wait(min(remaining, _LOOK_FOR_ROOM_SECONDS))

    @contextmanager
    def counting(self, server: str) -> Iterator[None]:
        """Count a single email as in flight through a mail server during the block."""
        with self._changed:
            load = self._loads.setdefault(server, _Load())
            load.count += 1
        try:
            yield
        finally:
            with self._changed:
                load.count -= 1
                self._changed.notify_all()

    def begin(self, group: Group) -> None:
        """Count the emails of a group; each has to be ended."""
        with self._changed:
            for claim in group.claims:
                self._sending[claim.token, claim.id] = (claim, group)
                self._load(claim).begin(is_campaign=group.is_campaign)
            self._ensure_thread()

    def look_for_waiting(self) -> None:
        """Look now, and for a while, for emails that wait in the log."""
        with self._changed:
            if not self._is_looking:
                self._is_looking = True
                self._ensure_thread()
                self._has_work.notify_all()

    def _ensure_thread(self) -> None:
        if self._thread is None:
            self._extend_at = time.monotonic() + self._lease_seconds / 3
            self._thread = threading.Thread(target=self._run, name="mailctl-recorder", daemon=True)
            self._thread.start()

    def end(self, claim: Claim, result: AttemptResult) -> None:
        """Take the result of an email, to be recorded soon; only the first one counts."""
        with self._changed:
            sending = self._sending.pop((claim.token, claim.id), None)
            if sending is None:
                return
            self._load(claim).end(is_campaign=sending[1].is_campaign, now=time.monotonic())
            self._ended.append((claim, result, sending[1]))
            self._missing -= 1
            if len(self._ended) in (1, _ENOUGH) or not self._sending:
                self._has_work.notify_all()
            if self._missing <= 0:
                self._changed.notify_all()

    def end_rest(self, group: Group) -> None:
        """End the emails of a group that have no result: they were interrupted before they began."""
        for claim in group.claims:
            self.end(claim, asyncio.CancelledError())

    def finish(self) -> None:
        """Wait until every email has ended and is recorded."""
        with self._changed:
            self._changed.wait_for(
                lambda: not (self._sending or self._ended or self._recording or self._is_looking)
            )

    def close(self) -> None:
        """Finish, and end the thread."""
        self.finish()
        with self._changed:
            self._is_closed = True
            self._has_work.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _load(self, claim: Claim) -> _Load:
        return self._loads.setdefault(claim.plan.server, _Load())

    def _most_room(self, *, is_campaign: bool, wanted: Mapping[str, int]) -> tuple[tuple[str, int], int]:
        """Return the mail server with room, how much, and how much is missing to be worth a claim."""
        rooms: dict[str, int] = {}
        missing = _ENOUGH
        unrecorded = len(self._ended) + self._recording
        for server, count in wanted.items():
            load, sessions = self._loads.get(server, _Load()), self._capacity(server)
            limit, room = load.limit_and_room(
                is_campaign=is_campaign,
                sessions=sessions,
                stuck=self._count_stuck(server, is_campaign=False),
                stuck_campaign=self._count_stuck(server, is_campaign=True),
                now=time.monotonic(),
            )
            room = min(room, _MAX_UNRECORDED - unrecorded)
            rooms[server] = max(0, min(room, count))
            missing = min(missing, worthwhile(limit, wanted=count) - room)
            if missing <= 0:
                return (server, rooms[server]), 0
        most = max(rooms, key=rooms.__getitem__)
        return (most, rooms[most]), missing

    def _run(self) -> None:
        while not self._is_closed:
            ended = self._next_ended()
            try:
                self._record(ended)
                self._extend_leases()
            except Exception as error:  # without the traceback, which may quote the emails
                # Of the emails that are not recorded the lease runs out, and another worker has them then.
                what = pluralize(len(ended), "outcome")
                _log.error("cannot record %s (%s)", what, type(error).__name__)
            is_looking = (self._is_looking or bool(ended)) and self._take_waiting_or_log()
            with self._changed:
                self._recording, self._is_looking = 0, is_looking
                self._changed.notify_all()

    def _take_waiting_or_log(self) -> bool:
        try:
            return self._take_waiting()
        except Exception as error:  # without the traceback, which may quote the emails
            _log.error("cannot look for emails that wait in the log (%s)", type(error).__name__)
        return False

    def _next_ended(self) -> list[tuple[Claim, AttemptResult, Group]]:
        """Wait until some emails have ended, or leases have to be extended."""
        with self._has_work:
            was_looking = self._is_looking
            seconds = LOOK_SECONDS if was_looking else max(0.0, self._extend_at - time.monotonic())
            self._has_work.wait_for(
                lambda: self._ended or self._is_closed or self._is_looking is not was_looking, seconds
            )
            if self._ended:
                self._has_work.wait_for(
                    lambda: len(self._ended) >= _ENOUGH or not self._sending, LINGER_SECONDS
                )
            ended, self._ended = self._ended[:_MOST], self._ended[_MOST:]
            self._recording = len(ended)
            return ended

    def _record(self, ended: Sequence[tuple[Claim, AttemptResult, Group]]) -> None:
        if not ended:
            return
        recorded = self._recorder.record_all(
            [claim for claim, _, _ in ended], [result for _, result, _ in ended]
        )
        groups = {result[0].id: result[2] for result in ended}
        for group in dict.fromkeys(groups.values()):
            group.on_recorded([result for result in recorded if groups[result.email_id] is group])

    def _extend_leases(self) -> None:
        if time.monotonic() < self._extend_at:
            return
        self._extend_at = time.monotonic() + self._lease_seconds / 3
        with self._changed:
            claims = [claim for claim, _ in self._sending.values()]
            claims += [claim for claim, _, _ in self._ended]
        if not claims:
            return
        try:
            self._claims.extend(claims)
        except LogUnavailable as error:
            _log.warning("cannot extend the leases of %d emails: %s", len(claims), error)


def result_of(attempt: Future[AttemptResult]) -> AttemptResult:
    """Return how an attempt ended, as its result."""
    return attempt.exception() or attempt.result()
