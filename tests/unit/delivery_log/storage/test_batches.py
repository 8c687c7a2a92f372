"""Batches keep every value, in order, and none is too large for a statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, select

from mailctl.delivery_log.storage.batches import BATCH_SIZE, batches, is_among
from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.raw_insert import insert_rows
from mailctl.delivery_log.storage.tables import foreign_messages
from tests.unit.delivery_log.storage.test_raw_insert import rows

if TYPE_CHECKING:
    from sqlalchemy import Engine


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, []), (1, [1]), (BATCH_SIZE, [BATCH_SIZE]), (BATCH_SIZE + 1, [BATCH_SIZE, 1])]
)
def test_values_keep_their_order(count: int, sizes: list[int]) -> None:
    """Without values there is no batch, and no statement."""
    found = list(batches(range(count)))
    assert [len(some) for some in found] == sizes
    assert [value for some in found for value in some] == list(range(count))


@pytest.mark.parametrize("given", [[], ["d1"], ["d0", "d2", "other"], [f"d{n}" for n in range(BATCH_SIZE)]])
def test_rows_are_found_by_a_list(engine: Engine, given: list[str]) -> None:
    """However long it is, and by the same statement."""
    statements = list[str]()

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        statements.append(statement)

    query = select(foreign_messages.c.digest).where(is_among(foreign_messages.c.digest, "given"))
    with writing(engine) as connection:
        insert_rows(connection, foreign_messages, rows(3))
        event.listen(connection, "before_cursor_execute", note)
        found = connection.execute(query, {"given": given}).scalars().all()
        connection.execute(query, {"given": ["another"]})
    assert set(found) == {"d0", "d1", "d2"} & set(given)
    assert len(set(statements)) == 1
