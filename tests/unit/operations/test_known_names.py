"""Known queues and campaigns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.errors import NotFound
from mailctl.operations.known_names import check_campaign, check_queue, check_queue_anywhere
from mailctl.runtime import Runtime
from mailctl.settings import BULK_QUEUE, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    """The components of a process with an empty log."""
    made = Runtime(Settings(mailctl_home=tmp_path, celery_queue_default="emails"))
    yield made
    made.close()


@pytest.mark.parametrize("queue", ["emails", BULK_QUEUE])
def test_the_queues_of_the_settings_are_known(runtime: Runtime, queue: str) -> None:
    """Also without an email or a worker."""
    check_queue(runtime, queue)
    check_queue_anywhere(runtime, queue)


def test_an_unknown_queue_is_an_error_that_names_the_known_ones(runtime: Runtime) -> None:
    """It is not an empty queue."""
    for check in (check_queue, check_queue_anywhere):
        with pytest.raises(NotFound) as caught:
            check(runtime, "email")
        assert (caught.value.message, caught.value.fix) == (
            "There is no queue 'email'.",
            "Did you mean 'emails'?",
        )
        with pytest.raises(NotFound) as caught:
            check(runtime, "nothing")
        assert caught.value.fix == f"Queues: emails, {BULK_QUEUE}."


def test_an_unknown_campaign_is_an_error(runtime: Runtime) -> None:
    """The fix names those that there are."""
    with pytest.raises(NotFound, match="no email of campaign 'spring'"):
        check_campaign(runtime, "spring")
