"""A log that its first write creates, once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine

from mailctl.delivery_log.storage.late_creation import LateCreation, late_creation_of

if TYPE_CHECKING:
    from sqlalchemy import Engine


def engine() -> Engine:
    """Return an engine that nothing has connected."""
    return create_engine("sqlite://")


def test_readers_see_the_stand_in_until_the_log_is_created() -> None:
    """Nothing is created for them."""
    real, stand_in, created = engine(), engine(), []
    late = LateCreation(stand_in, lambda: created.append(True))
    late.attach_to(real)
    assert late_creation_of(real) is late
    assert (late.readable(real), created) == (stand_in, [])
    late.finish()
    assert (late.readable(real), created) == (real, [True])


def test_threads_that_write_first_create_it_once() -> None:
    """Each returns when it is there."""
    created: list[bool] = []
    late = LateCreation(engine(), lambda: created.append(True))
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: late.finish(), range(8)))
    assert created == [True]


def test_a_creation_that_fails_is_tried_again() -> None:
    """By the next write; readers go on with the stand-in."""
    tries: list[bool] = []

    def create() -> None:
        tries.append(True)
        if len(tries) == 1:
            raise OSError("no space")

    real, late = engine(), LateCreation(engine(), create)
    with pytest.raises(OSError, match="no space"):
        late.finish()
    assert late.readable(real) is not real
    late.finish()
    assert (late.readable(real), len(tries)) == (real, 2)


def test_a_log_that_exists_has_none() -> None:
    """Its writes create nothing."""
    assert late_creation_of(engine()) is None
