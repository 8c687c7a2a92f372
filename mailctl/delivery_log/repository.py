"""The base of the classes that read and write one subject of the delivery log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.delivery_log.storage.engine_clock import clock_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Engine


class Repository:
    """Holds the database engine and the clock of a part of the delivery log.

    Args:
        engine: of the delivery log's database, with the current schema.
        clock: returns the current time, aware; None takes the clock of the log.
    """

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] | None = None) -> None:
        self._engine = engine
        self._clock = clock or clock_of(engine)
