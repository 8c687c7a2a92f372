"""How many sessions the emails to one domain may have: more as they end, few while none does.

The decisions are pure: whoever waits, and the clock, are in `session_slots`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from mailctl.domain.routing import domain_of

if TYPE_CHECKING:
    from mailctl.domain.models import Envelope

#: Seconds after which an email that has a session, and has not ended, is stuck.
STUCK_SECONDS = 5.0
#: The part of the available sessions that the emails to a domain get as long as none has ended, and the
#: sessions of a few that they get anyway.
_FIRST_PART, _FIRST_OF_FEW = 7, 3
#: The part of the available sessions that they leave to others, unless there are so few.
_PART_LEFT, _TOO_FEW_TO_LEAVE = 10, 3
#: The part of all sessions that only those get of which some were answered.
_PART_KEPT = 20
#: Seconds for which it is remembered how many may be sent at a time to a domain without any.
_REMEMBERED_SECONDS = 10.0


class Stream(NamedTuple):
    """The emails to one domain, those of campaigns or all others."""

    domain: str
    is_campaign: bool = False

    @classmethod
    def of(cls, envelope: Envelope) -> Stream:
        """Return the stream of a message."""
        return cls(domain_of(envelope.recipient), envelope.is_of_campaign)


@dataclass(eq=False)
class Slot:
    """The right of one email to use a session."""

    stream: Stream
    #: When it got a session; None while it waits for one, whoever has them.
    begun_at: float | None = None

    def is_stuck(self, now: float) -> bool:
        """Whether it has had a session for long."""
        return self.begun_at is not None and now - self.begun_at >= STUCK_SECONDS


@dataclass
class _Use:
    """What the emails of a stream use."""

    slots: set[Slot] = field(default_factory=set)
    #: How many more slots they may have than at first: one for each email that was answered.
    grown: int = 0
    #: Whether one of them was answered, and they have not stalled since.
    is_proven: bool = False
    #: When the last one was answered; 0 if none was.
    answered_at: float = 0.0

    def has_stalled(self, now: float) -> bool:
        """Whether one of them is stuck, and none has ended meanwhile."""
        return now - self.answered_at >= STUCK_SECONDS and any(slot.is_stuck(now) for slot in self.slots)

    def quiet_since(self) -> float:
        """Return since when emails are being sent and none has ended."""
        begun = [slot.begun_at for slot in self.slots if slot.begun_at is not None]
        return max(self.answered_at, min(begun))


def campaign_sessions(sessions: int) -> int:
    """Return how many of so many sessions a campaign may use: all but one, and at least one."""
    return max(1, sessions - 1)


def first_sessions(available: int) -> int:
    """Return how many sessions the emails to a domain may have as long as none of them has ended.

    A part of those that are available: of 56, 8. So several domains that do not answer leave most to others.
    """
    return max(1, -(-available // _FIRST_PART), min(_FIRST_OF_FEW, available - 1))


def most_sessions(available: int) -> int:
    """Return how many sessions the emails to a domain may have at most: of 56, 50; of three or fewer, all."""
    if available <= _TOO_FEW_TO_LEAVE:
        return max(1, available)
    return available - -(-available // _PART_LEFT)


def kept_sessions(sessions: int) -> int:
    """Return how many sessions only domains that answer get: of 56, two; of fewer than 20, none."""
    return sessions // _PART_KEPT


class Streams:
    """The streams of one pool of sessions, and which of them may have one more."""

    def __init__(self) -> None:
        self._uses: dict[Stream, _Use] = {}
        #: The slots of streams that are not proven: they may be given back late.
        self._unproven = 0
        #: How many emails are stuck, of campaigns and others, when they were counted last.
        self.stuck = {True: 0, False: 0}
        #: When the last email of any stream ended.
        self._answered_at = 0.0

    def __bool__(self) -> bool:
        return bool(self._uses)

    def take(self, stream: Stream) -> Slot:
        """Return a new slot."""
        use = self._uses.setdefault(stream, _Use())
        slot = Slot(stream)
        use.slots.add(slot)
        self._unproven += not use.is_proven
        return slot

    def give_back(self, slot: Slot, *, is_answered: bool, now: float) -> None:
        """Take a slot back.

        Args:
            is_answered: whether the server has replied to its email; a timeout is no sign of life.
        """
        use = self._uses[slot.stream]
        use.slots.remove(slot)
        self._unproven -= not use.is_proven
        if not is_answered:
            return
        if not use.is_proven:
            use.is_proven = True
            self._unproven -= len(use.slots)
        use.grown, use.answered_at, self._answered_at = use.grown + 1, now, now

    def may_take(self, stream: Stream, *, free: int, sessions: int, allowed: int) -> bool:
        """Whether the emails of a stream may have one more slot.

        Args:
            free: how many slots nobody has.
            sessions: how many there are.
            allowed: how many sessions the server allows now.
        """
        use = self._uses.get(stream)
        is_proven = use is not None and use.is_proven
        if free <= 0 or not (is_proven or self._unproven < sessions - kept_sessions(sessions)):
            return False
        if use is None or not use.slots:
            return True
        held = len(use.slots)
        available = sessions - (self._unproven if is_proven else self._unproven - held)
        first = first_sessions(min(available, allowed))
        return held < min(most_sessions(available), first + use.grown)

    def look(self, *, sessions: int, now: float) -> None:
        """Find out which streams have stalled, and count the emails that are stuck.

        Args:
            sessions: how many there are.
        """
        self.stuck = {True: 0, False: 0}
        for stream, use in [*self._uses.items()]:
            self.stuck[stream.is_campaign] += sum(slot.is_stuck(now) for slot in use.slots)
            if use.is_proven and use.has_stalled(now):
                # It keeps what it has: one that is only slow does not start over each time.
                held, first = len(use.slots), first_sessions(sessions - self._unproven)
                use.is_proven, use.grown = False, max(0, held - first)
                self._unproven += held
            elif not use.slots and now - use.answered_at >= _REMEMBERED_SECONDS:
                del self._uses[stream]

    def held(self, stream: Stream) -> int:
        """Return how many slots the emails of a stream have."""
        use = self._uses.get(stream)
        return 0 if use is None else len(use.slots)

    def stalled_for(self, stream: Stream, now: float) -> float:
        """Return for how many seconds no email of a stream has ended, while one is stuck; 0 if one has."""
        use = self._uses.get(stream)
        return now - use.quiet_since() if use is not None and use.has_stalled(now) else 0.0

    def all_stalled_for(self, now: float) -> float:
        """Return for how many seconds no email of any stream has ended, while one is stuck; 0 if one has."""
        if now - self._answered_at < STUCK_SECONDS:
            return 0.0
        return min(
            (self.stalled_for(stream, now) for stream, use in self._uses.items() if use.slots), default=0.0
        )
