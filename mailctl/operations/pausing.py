"""Pausing and resuming queues, kinds and campaigns, for operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.delivery_log.pauses import Pause, PauseScope
from mailctl.delivery_log.queries.search import EmailFilter, count_by_state
from mailctl.domain.states import CLAIMABLE_STATES, State
from mailctl.errors import InvalidInput, NotFound
from mailctl.operations.known_names import check_campaign, check_queue, is_known_queue

if TYPE_CHECKING:
    from mailctl.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class PauseTarget:
    """A queue, a kind or a campaign that can be paused."""

    scope: PauseScope
    name: str


@dataclass(frozen=True, kw_only=True)
class UnsentEmails:
    """How many emails are still to be sent."""

    #: Those that a pause stops.
    waiting: int
    #: Those that workers have taken, which a pause does not stop.
    sending: int


class PauseService:
    """Pauses and resumes queues, kinds and campaigns.

    Args:
        runtime: the components of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def resolve_target(self, *, queue: str | None, kind: str | None) -> PauseTarget:
        """Return the queue or kind to pause or resume.

        Raises:
            InvalidInput: neither or both are given, or the kind is unknown.
            NotFound: the queue is unknown.
        """
        if (queue is None) == (kind is None):
            problem = "is missing." if queue is None else "cannot both be given."
            what = "queue or kind" if queue is None else "queue and kind"
            raise InvalidInput(what, problem, fix="Give either QUEUE or --kind KIND.")
        if kind is not None:
            return self._resolve_kind(kind)
        assert queue is not None
        # A misspelt name would pause nothing, but look as if it did.
        check_queue(self._runtime, queue)
        return PauseTarget(scope=PauseScope.QUEUE, name=queue)

    def resolve_campaign(self, name: str) -> PauseTarget:
        """Return the campaign to pause or resume.

        Raises:
            NotFound: the campaign is unknown.
        """
        check_campaign(self._runtime, name)
        return PauseTarget(scope=PauseScope.CAMPAIGN, name=name)

    def _resolve_kind(self, kind: str) -> PauseTarget:
        target = PauseTarget(scope=PauseScope.KIND, name=kind)
        # A kind that the service has removed since can still be resumed.
        if self._find_pause(target) is None:
            self._runtime.catalog.get(kind)
        return target

    def pause(self, target: PauseTarget, *, actor: str, reason: str) -> tuple[Pause, bool]:
        """Pause a queue, kind or campaign for all workers at once; return the pause, and whether it is new.

        Args:
            target: what to pause.
            actor: the operator who pauses it.
            reason: why, for other operators.

        Raises:
            NotFound: somebody else has resumed it in the same moment.
            LogUnavailable: the delivery log cannot be written.
        """
        is_new = self._runtime.pauses.pause(target.scope, target.name, actor=actor, reason=reason)
        found = self._find_pause(target)
        if found is None:
            raise NotFound(
                f"The {target.scope} {target.name!r} is not paused: somebody else has just resumed it.",
                fix="Pause it again if it should not be sent.",
            )
        return found, is_new

    def resume(self, target: PauseTarget) -> Pause:
        """Resume a queue, kind or campaign at once; return the pause that was lifted.

        Raises:
            NotFound: it was not paused.
            LogUnavailable: the delivery log cannot be written.
        """
        found = self._find_pause(target)
        if not self._runtime.pauses.resume(target.scope, target.name) or found is None:
            raise NotFound(f"The {target.scope} {target.name!r} is not paused.")
        return found

    def count_unsent(self, target: PauseTarget) -> UnsentEmails:
        """Return how many emails of a queue, kind or campaign are still to be sent.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        scope, name = target.scope, target.name
        wanted = EmailFilter(
            states=(*CLAIMABLE_STATES, State.SENDING),
            queue=name if scope is PauseScope.QUEUE else None,
            kinds=(name,) if scope is PauseScope.KIND else (),
            campaign=name if scope is PauseScope.CAMPAIGN else None,
        )
        counts = count_by_state(self._runtime.engine, wanted)
        sending = counts.pop(State.SENDING, 0)
        return UnsentEmails(waiting=sum(counts.values()), sending=sending)

    def _find_pause(self, target: PauseTarget) -> Pause | None:
        paused = self._runtime.pauses.read()
        return next((each for each in paused if (each.scope, each.name) == (target.scope, target.name)), None)

    def is_known_queue(self, queue: str) -> bool:
        """Whether a queue is known, so that it can be paused."""
        return is_known_queue(self._runtime, queue)
