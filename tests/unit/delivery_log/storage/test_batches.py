"""Batches keep every value, in order, and none is too large for a statement."""

from __future__ import annotations

import pytest

from mailctl.delivery_log.storage.batches import BATCH_SIZE, batches


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, []), (1, [1]), (BATCH_SIZE, [BATCH_SIZE]), (BATCH_SIZE + 1, [BATCH_SIZE, 1])]
)
def test_values_keep_their_order(count: int, sizes: list[int]) -> None:
    """Without values there is no batch, and no statement."""
    found = list(batches(range(count)))
    assert [len(some) for some in found] == sizes
    assert [value for some in found for value in some] == list(range(count))
