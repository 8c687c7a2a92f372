"""The conversion of a log with one table to partitions, and back, beside its use.

A copy is made in small transactions, while triggers note what changes meanwhile. In the end, for a moment in
which nobody else uses the log, the last changes are copied and the copy takes the place of the table.
Interrupted anywhere, the log works as before, and the next call continues.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import text

from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.partitions import conversion_state as state
from mailctl.delivery_log.storage.partitions import replacement
from mailctl.delivery_log.storage.partitions.copies import copied_columns, create_copies, missing_indexes
from mailctl.delivery_log.storage.partitions.layout import KEYS, read_layout
from mailctl.delivery_log.storage.partitions.locks import is_locked_out, limit_lock_waits, take_turn
from mailctl.errors import LogUnavailable, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

    from mailctl.delivery_log.storage.partitions.conversion_state import CopyState
    from mailctl.delivery_log.storage.partitions.layout import DayRange

#: Rows that one transaction copies, and changes that one takes over.
_COPIED_ROWS, _CHANGES = 20_000, 5_000
#: With fewer changes left, the copy may replace the table.
_FEW_CHANGES = 500
#: How often a moment is sought in which nobody else uses the log.
_ATTEMPTS = 30


class Step(StrEnum):
    """What a conversion is doing; the value is the words for it."""

    COPYING = "copying rows"
    INDEXING = "creating indexes"
    CATCHING_UP = "copying changes"
    REPLACING = "replacing the tables"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a conversion is in one of its steps."""

    step: Step
    #: Of the step; rows or indexes.
    done: int
    #: None if it is not known.
    total: int | None = None


class Conversion:
    """Converts the tables of a log to partitions, or back to tables without; see this module.

    Args:
        engine: of the delivery log's database, PostgreSQL, with the current schema.
        ranges: the days of the partitions that there are at first; empty for tables without partitions.
        batch_size: the number of rows that one transaction copies.
    """

    def __init__(
        self, engine: Engine, *, ranges: tuple[DayRange, ...], batch_size: int = _COPIED_ROWS
    ) -> None:
        self._engine = engine
        self._ranges = ranges
        self._batch_size = batch_size

    def run(self) -> Iterator[Progress]:
        """Begin the conversion, or continue it; yield after each small transaction.

        Raises:
            LogUnavailable: the delivery log cannot be used, or this user does not own its tables.
            Refused: the delivery log is too busy.
        """
        self._begin()
        yield from self._copy()
        yield from self._create_indexes()
        yield from self._replace()
        with writing(self._engine) as connection:
            for table in KEYS:
                # Autovacuum does not do so for a table that has partitions.
                connection.execute(text(f"ANALYZE {table}"))

    def _begin(self) -> None:
        with _exclusive_transaction(self._engine) as connection:
            if not state.is_converting(connection):
                _begin_on(connection, self._ranges)

    def _copy(self) -> Iterator[Progress]:
        """Copy the rows that the tables had at the beginning, in the order of their numbers."""
        while found := self._copy_some():
            done, total = (sum(getattr(each, name) for each in found) for name in ("copied", "last"))
            yield Progress(step=Step.COPYING, done=done, total=total)

    def _copy_some(self) -> list[CopyState]:
        """Copy the next rows of a table; return how far all are, nothing if no row is left."""
        with writing(self._engine, durable=False) as connection:
            take_turn(connection)
            states = state.read_states(connection)
            unfinished = next((each for each in states if each.copied < each.last), None)
            if unfinished is None:
                return []
            _copy_rows(connection, unfinished, limit=self._batch_size)
            return state.read_states(connection)

    def _create_indexes(self) -> Iterator[Progress]:
        with reading(self._engine) as connection:
            total = len(missing_indexes(connection))
        for done in range(1, total + 1):
            with writing(self._engine) as connection:
                take_turn(connection)
                for statement in missing_indexes(connection)[:1]:
                    connection.execute(text(statement))
            yield Progress(step=Step.INDEXING, done=done, total=total)

    def _replace(self) -> Iterator[Progress]:
        for attempt in range(_ATTEMPTS):
            yield from self._catch_up()
            yield Progress(step=Step.REPLACING, done=attempt)
            with suppress(Refused), _exclusive_transaction(self._engine) as connection:
                if state.is_converting(connection):
                    _replace_on(connection)
                return
        raise _busy_error()

    def _catch_up(self) -> Iterator[Progress]:
        """Copy what has changed meanwhile, until little is left."""
        done = 0
        while True:
            with writing(self._engine, durable=False) as connection:
                take_turn(connection)
                number = _copy_changes(connection) if state.is_converting(connection) else 0
            done += number
            if number < _FEW_CHANGES:
                return
            yield Progress(step=Step.CATCHING_UP, done=done)


def discard_conversion(engine: Engine) -> None:
    """Discard what an unfinished conversion has made; the log stays as it is.

    Raises:
        LogUnavailable: the delivery log cannot be used.
        Refused: the delivery log is too busy.
    """
    with _exclusive_transaction(engine) as connection:
        state.discard(connection)


@contextmanager
def _exclusive_transaction(engine: Engine) -> Iterator[Connection]:
    """Begin a transaction that excludes other conversions, and that waits only briefly for locks."""
    try:
        with writing(engine) as connection:
            limit_lock_waits(connection)
            take_turn(connection)
            yield connection
    except LogUnavailable as error:
        if is_locked_out(error):
            raise _busy_error() from error
        raise


def _busy_error() -> Refused:
    return Refused(
        "The delivery log is too busy to replace its tables; it works as before, and the progress is kept.",
        fix="Repeat the command when it is less busy; it continues where it stopped.",
    )


def _begin_on(connection: Connection, ranges: tuple[DayRange, ...]) -> None:
    """Create the empty copies, and the triggers that note what changes from now on."""
    tables = ", ".join(KEYS)
    # Waits until those have ended who have changed something that no trigger has noted.
    connection.execute(text(f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE"))
    create_copies(connection, ranges)
    for statement in _NOTING:
        connection.exec_driver_sql(statement)
    days = f"{ranges[0].end - ranges[0].first}" if ranges else "NULL"
    for table in KEYS:
        connection.exec_driver_sql(
            f"CREATE TRIGGER {state.TRIGGER} AFTER INSERT OR UPDATE OR DELETE ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION {state.FUNCTION}('{table}')"
        )
        last = f"(SELECT coalesce(max(seq), 0) FROM {table})"
        connection.execute(text(f"INSERT INTO {state.STATE_TABLE} VALUES ('{table}', {days}, 0, {last})"))


#: The function has the rights of its owner: those who change emails may not be allowed to use the table.
_NOTING = (
    f"CREATE TABLE {state.STATE_TABLE}"
    " (table_name text PRIMARY KEY, days integer, copied bigint NOT NULL, last bigint NOT NULL)",
    f"CREATE TABLE {state.CHANGES_TABLE} (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " table_name text NOT NULL, seq bigint NOT NULL)",
    f"""CREATE FUNCTION {state.FUNCTION}() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$ BEGIN
    INSERT INTO {state.CHANGES_TABLE} (table_name, seq)
        VALUES (TG_ARGV[0], CASE WHEN TG_OP = 'DELETE' THEN OLD.seq ELSE NEW.seq END);
    RETURN NULL;
END $$""",
)


def _copy_rows(connection: Connection, copy: CopyState, *, limit: int) -> None:
    """Copy the next rows of a table."""
    is_next = f"seq > {copy.copied} AND seq <= {copy.last}"
    some = f"SELECT seq FROM {copy.table} WHERE {is_next} ORDER BY seq LIMIT {limit}"
    end = connection.execute(text(f"SELECT max(seq) FROM ({some}) AS batch")).scalar()
    end = copy.last if end is None else end
    _insert_copies(connection, copy.table, f"seq > {copy.copied} AND seq <= {end}")
    connection.execute(
        text(f"UPDATE {state.STATE_TABLE} SET copied = {end} WHERE table_name = '{copy.table}'")
    )


def _insert_copies(connection: Connection, table: str, where: str) -> None:
    columns = copied_columns(connection, table)
    connection.execute(
        text(f"INSERT INTO {table}{state.NEW} ({columns}) SELECT {columns} FROM {table} WHERE {where}")
    )


def _copy_changes(connection: Connection) -> int:
    """Copy again the rows that changed first; return how many changes there were."""
    first = f"SELECT number FROM {state.CHANGES_TABLE} ORDER BY number LIMIT {_CHANGES}"
    taken = f"DELETE FROM {state.CHANGES_TABLE} WHERE number IN ({first}) RETURNING table_name, seq"
    rows = connection.execute(text(taken)).all()
    numbers: defaultdict[str, set[int]] = defaultdict(set)
    for row in rows:
        numbers[row.table_name].add(row.seq)
    for table, changed in numbers.items():
        are_they = f"seq IN ({', '.join(map(str, sorted(changed)))})"
        connection.execute(text(f"DELETE FROM {table}{state.NEW} WHERE {are_they}"))
        _insert_copies(connection, table, are_they)
    return len(rows)


def _replace_on(connection: Connection) -> None:
    """Copy the last changes, and put the copies in the place of the tables."""
    connection.execute(text(f"LOCK TABLE {', '.join(KEYS)} IN ACCESS EXCLUSIVE MODE"))
    while _copy_changes(connection):
        pass
    for table in KEYS:
        replacement.replace_by_copy(connection, table)
    replacement.set_collation_of_feedback(connection, is_partitioned=read_layout(connection) is not None)
    state.drop_state(connection)
