"""Pausing and resuming queues and kinds, for operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.delivery_log.pauses import Pause, PauseScope
from mailctl.delivery_log.queries.search import EmailFilter, search
from mailctl.domain.models import CLAIMABLE_STATES
from mailctl.errors import InvalidInput, NotFound
from mailctl.operations.known_names import check_queue, is_known_queue

if TYPE_CHECKING:
    from mailctl.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class PauseTarget:
    """A queue, or a kind of email."""

    scope: PauseScope
    name: str


class PauseService:
    """Stops and starts the sending.

    Args:
        runtime: the parts of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def resolve_target(self, *, queue: str | None, kind: str | None) -> PauseTarget:
        """Return what is meant.

        Raises:
            InvalidInput: neither or both are given, or nobody knows the kind.
            NotFound: nobody knows the queue.
        """
        if (queue is None) == (kind is None):
            raise InvalidInput("queue", "is missing or given twice.", fix="Give a queue, or --kind KIND.")
        if kind is not None:
            return self._resolve_kind(kind)
        assert queue is not None
        # A slip of the pen would stop nothing, and look as if it did.
        check_queue(self._runtime, queue)
        return PauseTarget(scope=PauseScope.QUEUE, name=queue)

    def _resolve_kind(self, kind: str) -> PauseTarget:
        target = PauseTarget(scope=PauseScope.KIND, name=kind)
        # One that the service has given up since can still be let go on.
        if self._find_pause(target) is None:
            self._runtime.catalog.get(kind)
        return target

    def pause(self, target: PauseTarget, *, actor: str, reason: str) -> tuple[Pause, bool]:
        """Stop it, at once and for all workers; return the pause, and whether it is new.

        Raises:
            LogUnavailable: the delivery log cannot be written.
        """
        is_new = self._runtime.pauses.pause(target.scope, target.name, actor=actor, reason=reason)
        found = self._find_pause(target)
        assert found is not None
        return found, is_new

    def resume(self, target: PauseTarget) -> Pause:
        """Let it go on at once; return the pause that it was.

        Raises:
            NotFound: it was not paused.
            LogUnavailable: the delivery log cannot be written.
        """
        found = self._find_pause(target)
        if not self._runtime.pauses.resume(target.scope, target.name) or found is None:
            raise NotFound(f"{target.scope} {target.name} was not paused.")
        return found

    def count_waiting(self, target: PauseTarget, *, limit: int) -> int:
        """Return how many of its emails are not out yet, counting up to `limit`.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        is_queue = target.scope is PauseScope.QUEUE
        wanted = EmailFilter(
            states=tuple(CLAIMABLE_STATES),
            queue=target.name if is_queue else None,
            kinds=() if is_queue else (target.name,),
        )
        return len(search(self._runtime.engine, wanted, limit=limit).emails)

    def _find_pause(self, target: PauseTarget) -> Pause | None:
        paused = self._runtime.pauses.read()
        return next((each for each in paused if (each.scope, each.name) == (target.scope, target.name)), None)

    def is_known_queue(self, queue: str) -> bool:
        """Whether there is such a queue, so that it can be paused."""
        return is_known_queue(self._runtime, queue)
