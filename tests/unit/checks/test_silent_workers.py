"""What is said of a worker that does nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mailctl.checks.silent_workers import describe_silence
from tests.emails import NOW
from tests.workers import worker


@pytest.mark.parametrize(
    ("is_suspended", "said"),
    [
        (True, "worker celery@web is stopped by a signal; `kill -CONT 7` resumes it"),
        (
            False,
            "worker celery@web (process 7 on host web) has not signed off,"
            " and has sent no heartbeat for 40 s",
        ),
    ],
)
def test_a_worker_is_named_with_what_helps(is_suspended: bool, said: str) -> None:
    """One that is stopped by a signal can be continued; of another it is known where it ran."""
    now = NOW + timedelta(seconds=40)
    assert describe_silence(worker(NOW), now=now, is_suspended=is_suspended) == said
