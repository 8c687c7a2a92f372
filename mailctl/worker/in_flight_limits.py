"""How many emails a process sends at a time: decisions about a pace, without clocks and waiting."""

from __future__ import annotations

import math
from collections import deque

#: Emails of a campaign in flight at most, however fast the mail server is.
MAX_CAMPAIGN_IN_FLIGHT = 100
#: Seconds of the pace that are claimed beyond the sessions, so that no session waits for the delivery log.
_LOOKAHEAD_SECONDS = 0.05
_MIN_LOOKAHEAD, _MAX_LOOKAHEAD = 2, 50
#: Seconds over which the pace is measured.
_WINDOW_SECONDS = 1.0


class Pace:
    """How many emails a second are finished, whatever their outcome."""

    def __init__(self) -> None:
        self._finished: deque[float] = deque()

    def note_finished(self, now: float) -> None:
        """Count an email that has just been finished."""
        self._finished.append(now)

    def per_second(self, now: float) -> int:
        """Return how many emails were finished in the last second."""
        while self._finished and self._finished[0] <= now - _WINDOW_SECONDS:
            self._finished.popleft()
        return len(self._finished)


def campaign_limit(*, pace: int, sessions: int) -> int:
    """Return how many emails of campaigns may be in flight.

    One second's pace or all sessions but one, whichever is larger: so a password reset waits for a second at
    most for what was begun before it, however slow the mail server is.

    Args:
        pace: emails a second that the process finishes.
        sessions: sessions that it may have with the mail server.
    """
    return max(1, sessions - 1, min(pace, MAX_CAMPAIGN_IN_FLIGHT))


def group_limit(*, pace: int, sessions: int) -> int:
    """Return how many emails of groups without a campaign may be in flight: little more than sessions.

    After a crash it is unknown whether each of them was sent. At least two more are claimed than there are
    sessions, unless nothing is finished, so that no session waits for the delivery log.

    Args:
        pace: as for `campaign_limit`.
        sessions: as for `campaign_limit`.
    """
    lookahead = max(_MIN_LOOKAHEAD, min(math.ceil(pace * _LOOKAHEAD_SECONDS), _MAX_LOOKAHEAD))
    return max(1, sessions) + (lookahead if pace else 0)


def worthwhile(limit: int, *, wanted: int) -> int:
    """Return how much room to wait for: claiming a few emails takes as long as claiming many.

    Args:
        limit: how many emails may be in flight.
        wanted: how many are to be sent.
    """
    return max(1, min(wanted, limit // 4, 25))
