"""The watch over the delivery log: another one at the same address is noticed, once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete

from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.tables import log
from mailctl.worker.log_watch import LogWatch
from tests.unit.delivery_log.conftest import empty_log_file, engine
from tests.unit.worker.fakes import parts

__all__ = ["empty_log_file", "engine"]

if TYPE_CHECKING:
    import pytest
    from sqlalchemy import Engine


def replace_log(engine: Engine, log_id: str) -> None:
    """Put another log in the place of the present one."""
    with writing(engine) as connection:
        connection.execute(delete(log))
        connection.execute(log.insert().values(id=log_id))


def test_another_log_is_noticed_once(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """The first one that is seen is not another one."""
    runtime: Any = parts(engine=engine, masked_log_url="postgresql://db/app")
    watch = LogWatch(runtime)
    replace_log(engine, "a")
    with caplog.at_level(logging.ERROR):
        found = [watch.has_changed(), watch.has_changed()]
        replace_log(engine, "b")
        found += [watch.has_changed(), watch.has_changed()]
    assert found == [False, False, True, False]
    [message] = caplog.messages
    assert message == (
        "the delivery log at postgresql://db/app was replaced by another one, which is used from now on"
    )
