"""Creation of a delivery log by its first write, so that what only reads creates nothing."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sqlalchemy import event

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

#: The execution option of an engine that holds its `LateCreation`.
_LATE_CREATION = "mailctl_late_creation"


class LateCreation:
    """Creation of a delivery log by the first write; until then readers see an empty one.

    Args:
        stand_in: an engine on the empty log.
        create: creates the real log.
    """

    def __init__(self, stand_in: Engine, create: Callable[[], None]) -> None:
        self._stand_in = stand_in
        self._create = create
        self._lock = threading.Lock()
        self._is_done = False

    def attach_to(self, engine: Engine) -> None:
        """Make `reading` and `writing` of an engine use this late creation."""
        engine.update_execution_options(**{_LATE_CREATION: self})
        event.listen(engine, "engine_disposed", lambda _: self._stand_in.dispose())

    def readable(self, engine: Engine) -> Engine:
        """Return the engine to read from: the given one after the creation, the stand-in before."""
        return engine if self._is_done else self._stand_in

    def finish(self) -> None:
        """Create the log, unless it was created before."""
        with self._lock:
            if not self._is_done:
                self._create()
                self._is_done = True


def late_creation_of(engine: Engine) -> LateCreation | None:
    """Return the late creation that an engine was given; None for a log that exists."""
    late = engine.get_execution_options().get(_LATE_CREATION)
    return late if isinstance(late, LateCreation) else None
