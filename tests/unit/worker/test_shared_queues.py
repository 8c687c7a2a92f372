"""A worker warns of other apps on its queues."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mailctl.broker.shared_queues import SharedQueue
from mailctl.worker.shared_queues import _warn

if TYPE_CHECKING:
    import pytest


def test_each_shared_queue_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """With its messages or its workers."""
    _warn([SharedQueue(queue="celery", tasks=("shop.pay",)), SharedQueue(queue="bulk", workers=("a@host",))])
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "messages of other apps" in caplog.text
