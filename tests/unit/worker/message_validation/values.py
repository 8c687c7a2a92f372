"""Values of any type, as another program may put them into a message."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

TEXT = st.text(st.characters(codec=None), max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


def nested(depth: int) -> Any:
    """Return a list that nests so many levels."""
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value
