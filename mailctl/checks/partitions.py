"""Checks of the partitions of a delivery log on PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.delivery_log.storage.engine_clock import clock_of
from mailctl.delivery_log.storage.partitions.condition import read_condition
from mailctl.domain.shell_command import mailctl_command
from mailctl.errors import MailctlError
from mailctl.process.deadlines import call_with_deadline
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from mailctl.checks.finding import CheckGroup, Finding
    from mailctl.delivery_log.storage.partitions.condition import PartitionCondition

_NAME = "partitions"


def check_partitions(engine: Engine, group: CheckGroup, *, service: str) -> Iterator[Finding]:
    """Check that no partition is missing, and that the server has room for all; nothing for a log without.

    Args:
        engine: of the delivery log, with the current schema.
        group: the group of the findings.
        service: how the sentence of a deadline names the log.
    """
    try:
        found = call_with_deadline(lambda: read_condition(engine, now=clock_of(engine)()), service=service)
    except MailctlError as error:
        yield group.error(_NAME, error)
        return
    if found.is_converting:
        yield group.warn(
            _NAME,
            "A conversion of the delivery log to another layout was begun and not finished.",
            fix="Repeat the command that began it, or discard the unfinished conversion: "
            + str(mailctl_command("db", "partition", undo=True)),
        )
    if found.days is not None:
        yield from _check(found, group)


def _check(found: PartitionCondition, group: CheckGroup) -> Iterator[Finding]:
    if found.has_today:
        days = pluralize(found.days or 0, "day")
        yield group.ok(_NAME, f"{pluralize(found.number, 'partition')} of {days}")
    else:
        yield group.warn(
            _NAME,
            "Today's emails have no partition of their own, so prune will delete them one by one.",
            fix="Run a worker as a database user who may create tables, or run: "
            + str(mailctl_command("db", "partition")),
        )
    if found.is_crowded:
        yield group.warn(
            _NAME,
            f"A statement on all partitions takes {found.locks} locks; the server has room for {found.room}.",
            fix="Raise max_locks_per_transaction of PostgreSQL, delete old emails with prune, or convert the"
            " log to partitions of more days.",
        )
