"""Whether a worker ends is read from the state of Celery."""

from __future__ import annotations

import pytest
from celery.worker import state

from mailctl.worker.consumer_activity import is_stopping


@pytest.mark.parametrize(
    ("stop", "terminate", "ends"),
    [
        (None, None, False),
        (False, False, False),
        (0, None, True),
        (None, 0, True),
        (1, None, True),
        (None, True, True),
    ],
)
def test_an_exit_code_says_that_a_worker_ends(
    monkeypatch: pytest.MonkeyPatch, stop: object, terminate: object, ends: bool
) -> None:
    """Also 0."""
    monkeypatch.setattr(state, "should_stop", stop)
    monkeypatch.setattr(state, "should_terminate", terminate)
    assert is_stopping() is ends
