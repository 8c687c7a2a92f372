"""How many sessions the emails to one domain may have: more with each answer, few while none comes.

The decisions are pure: whoever waits, and the clock, are in `session_slots`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from mailctl.domain.routing import domain_of

if TYPE_CHECKING:
    from mailctl.domain.models import Envelope

#: Seconds after which an email that has a session is stuck: twice as long as the last answer of its domain
#: took, within these limits.
STUCK_SECONDS, _MAX_STUCK_SECONDS = 5.0, 30.0
#: The part of the available sessions that the emails to a domain get as long as none has ended, and the
#: sessions of a few that they get anyway.
_FIRST_PART, _FIRST_OF_FEW = 7, 3
#: The part of the available sessions that they leave to others, unless there are so few.
_PART_LEFT, _TOO_FEW_TO_LEAVE = 10, 3
#: The part of all sessions that only those get of which some were answered.
_PART_KEPT = 20
#: How many domains are remembered to which no email is being sent.
_MOST_REMEMBERED = 500
#: Seconds after which such a domain begins with few sessions again: it may have stopped answering since.
_GROWN_SECONDS = 10.0


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
    #: How many seconds the last answer took.
    answer_seconds: float = 0.0

    @property
    def patience(self) -> float:
        """Seconds after which one of them is stuck."""
        return max(STUCK_SECONDS, min(2 * self.answer_seconds, _MAX_STUCK_SECONDS))

    def begun(self) -> list[float]:
        """Return when those began that have a session."""
        return [slot.begun_at for slot in self.slots if slot.begun_at is not None]

    def count_stuck(self, now: float) -> int:
        """Return how many have had a session for long."""
        return sum(now - begun_at >= self.patience for begun_at in self.begun())

    def stalled_for(self, now: float) -> float:
        """Return for how many seconds none was answered, while one is stuck; 0 if that is not so."""
        if now - self.answered_at < self.patience or not self.count_stuck(now):
            return 0.0
        return now - max(self.answered_at, min(self.begun()))


def campaign_sessions(sessions: int) -> int:
    """Return how many of so many sessions a campaign may use: all but one, and at least one."""
    return max(1, sessions - 1)


def first_sessions(available: int) -> int:
    """Return how many sessions the emails to a domain may have as long as none of them has ended.

    A part of those that are available: of 56, 8. So several domains that do not answer leave most to others.
    """
    left_of_few = 1 if available <= _TOO_FEW_TO_LEAVE else 2
    return max(1, -(-available // _FIRST_PART), min(_FIRST_OF_FEW, available - left_of_few))


def most_sessions(available: int) -> int:
    """Return how many sessions the emails to a domain may have at most: of 56, 50; of three or fewer, all."""
    if available <= _TOO_FEW_TO_LEAVE:
        return max(1, available)
    return available - -(-available // _PART_LEFT)


def kept_sessions(sessions: int) -> int:
    """Return how many sessions only domains that answer get: of 56, two; of three or fewer, none."""
    return max(sessions > _TOO_FEW_TO_LEAVE, sessions // _PART_KEPT)


class Streams:
    """The streams of one pool of sessions, and which of them may have one more."""

    def __init__(self) -> None:
        self._uses: dict[Stream, _Use] = {}
        #: The slots of streams that are not proven: they may be given back late.
        self._unproven = 0
        #: How many emails are stuck, of campaigns and others, when they were counted last.
        self.stuck = {True: 0, False: 0}
        #: When the last email of any stream was answered.
        self._answered_at = 0.0

    @property
    def are_in_use(self) -> bool:
        """Whether any stream has a slot."""
        return any(use.slots for use in self._uses.values())

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
        use.answer_seconds = now - (slot.begun_at or now)

    def may_take(self, stream: Stream, *, free: int, sessions: int, allowed: int) -> bool:
        """Whether the emails of a stream may have one more slot.

        Args:
            free: how many slots nobody has.
            sessions: how many there are.
            allowed: how many sessions the server allows now.
        """
        use = self._uses.get(stream)
        is_proven = use is not None and use.is_proven
        if free <= 0 or not (is_proven or self._may_take_unproven(stream, sessions)):
            return False
        if use is None or not use.slots:
            return True
        held = len(use.slots)
        available = sessions - (self._unproven if is_proven else self._unproven - held)
        first = first_sessions(min(available, allowed))
        return held < min(most_sessions(available), first + use.grown)

    def _may_take_unproven(self, stream: Stream, sessions: int) -> bool:
        """Whether a stream may have one more slot that nobody knows to answer."""
        if self._unproven >= sessions - kept_sessions(sessions):
            return False
        # The campaigns and the other emails to a domain that does not answer must not have all of a few.
        other = self._uses.get(stream._replace(is_campaign=not stream.is_campaign))
        of_domain = self.held(stream) + (len(other.slots) if other is not None and not other.is_proven else 0)
        return of_domain < max(1, sessions - 1 - kept_sessions(sessions))

    def look(self, *, sessions: int, now: float) -> None:
        """Find out which streams have stalled, and count the emails that are stuck.

        Args:
            sessions: how many there are.
        """
        stuck = {True: 0, False: 0}
        for stream, use in self._uses.items():
            stuck[stream.is_campaign] += use.count_stuck(now)
            if not use.slots and now - use.answered_at >= _GROWN_SECONDS:
                use.grown = 0
            elif use.is_proven and use.stalled_for(now):
                # It keeps what it has: one that is only slow does not start over each time.
                held, first = len(use.slots), first_sessions(sessions - self._unproven)
                use.is_proven, use.grown = False, max(0, held - first)
                self._unproven += held
        self.stuck = stuck  # at once: other threads read it
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        idle = {stream: use.answered_at for stream, use in self._uses.items() if not use.slots}
        for stream in sorted(idle, key=idle.__getitem__)[: max(0, len(idle) - _MOST_REMEMBERED)]:
            del self._uses[stream]

    def held(self, stream: Stream) -> int:
        """Return how many slots the emails of a stream have."""
        use = self._uses.get(stream)
        return 0 if use is None else len(use.slots)

    def stalled_for(self, stream: Stream, now: float) -> float:
        """Return for how many seconds no email of a stream was answered, while one is stuck; 0 if one was."""
        use = self._uses.get(stream)
        return 0.0 if use is None else use.stalled_for(now)

    def all_stalled_for(self, now: float) -> float:
        """Return for how many seconds no email of any stream was answered, while all are stuck."""
        if now - self._answered_at < STUCK_SECONDS:
            return 0.0
        using = [use for use in self._uses.values() if use.begun()]
        if not using or any(use.count_stuck(now) < len(use.begun()) for use in using):
            return 0.0
        return now - max(self._answered_at, min(min(use.begun()) for use in using))
