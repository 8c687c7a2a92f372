"""Partitions of the delivery log: made, kept up and taken away by an operator."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log.opening import open_delivery_log
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.delivery_log.storage.engine_clock import clock_of
from mailctl.delivery_log.storage.partitions.conversion import Conversion, discard_conversion
from mailctl.delivery_log.storage.partitions.creation import create_missing
from mailctl.delivery_log.storage.partitions.planning import plan_partitions, plan_undo
from mailctl.domain.partition_actions import PartitionAction
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from mailctl.delivery_log.storage.partitions.conversion import Progress
    from mailctl.delivery_log.storage.partitions.planning import PartitionPlan
    from mailctl.settings import Settings

_DAY = timedelta(days=1)


class Partitioning:
    """Gives a delivery log on PostgreSQL partitions by time, or takes them away.

    Args:
        settings: they name the delivery log.
        every: the time of one partition, in whole days; None for that of the log, or a week.
        is_undo: whether to take the partitions away.
        is_dry_run: whether only to say what would be done.

    Raises:
        InvalidInput: the time is not one of whole days.
    """

    def __init__(
        self, settings: Settings, *, every: timedelta | None, is_undo: bool, is_dry_run: bool
    ) -> None:
        if every is not None and (every % _DAY or is_undo):
            reason = "does not apply to --undo." if is_undo else "must be whole days, such as 7d."
            raise InvalidInput("--every", reason)
        self._settings = settings
        self._days = None if every is None else every // _DAY
        self._is_undo = is_undo
        self._mode = AccessMode.READ if is_dry_run else AccessMode.UPDATE

    def plan(self) -> PartitionPlan:
        """Return what is to be done.

        Raises:
            ConfigurationError: the log is not on PostgreSQL, or this user does not own its tables.
            InvalidInput: the number of days is not usable.
            LogMissing: there is no delivery log.
            LogUnavailable: the delivery log cannot be reached.
            Refused: the log has partitions of another number of days.
        """
        with self._opened() as engine:
            if self._is_undo:
                return plan_undo(engine)
            return plan_partitions(engine, now=clock_of(engine)(), days=self._days)

    def run(self, plan: PartitionPlan) -> Iterator[Progress]:
        """Carry a plan out; yield the progress after each small transaction.

        Raises:
            LogUnavailable: the delivery log cannot be reached or changed.
            Refused: the delivery log is too busy.
        """
        with self._opened() as engine:
            if plan.action in (PartitionAction.CONVERT, PartitionAction.UNDO):
                yield from Conversion(engine, ranges=plan.ranges).run()
            elif plan.action is PartitionAction.CREATE:
                create_missing(engine, now=clock_of(engine)(), max_moved=None)
            elif plan.action is PartitionAction.DISCARD:
                discard_conversion(engine)

    @contextmanager
    def _opened(self) -> Iterator[Engine]:
        engine = open_delivery_log(self._settings, self._mode)
        try:
            yield engine
        finally:
            engine.dispose()
