"""The options of a worker are checked, and its end becomes an exit code."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from mailctl.errors import ExitCode, InvalidInput
from mailctl.settings import BULK_QUEUE, GROUPS_QUEUE, Settings
from mailctl.worker.run import _choose_pool, _default_queues, _exit_code, _queue_names, run_worker


@pytest.mark.parametrize(
    ("pool", "is_private", "expected"),
    [(None, True, "threads"), (None, False, "prefork"), ("solo", True, "solo"), ("prefork", True, "prefork")],
)
def test_the_pool_suits_the_broker(pool: str | None, is_private: bool, expected: str) -> None:
    """Unless an option chooses it."""
    assert _choose_pool(pool, is_private=is_private) == expected


def test_an_unknown_pool_is_refused() -> None:
    """The fix lists the others."""
    with pytest.raises(InvalidInput, match="not a pool"):
        _choose_pool("gevent", is_private=False)


@pytest.mark.parametrize(
    ("code", "shutdowns", "expected"),
    [
        (None, [], ExitCode.DONE),
        (3, [], 3),
        (1, ["Warm"], ExitCode.DONE),
        (0, ["Warm", "Cold"], ExitCode.INTERRUPTED),
    ],
)
def test_a_warm_shutdown_is_a_success(code: int | None, shutdowns: list[str], expected: int) -> None:
    """A cold one is an interruption."""
    assert _exit_code(code, shutdowns) == expected


def runtime(**queues_by_kind: str) -> Any:
    """Return a runtime with kinds of a service."""
    kinds = {name: SimpleNamespace(queue=queue) for name, queue in queues_by_kind.items()}
    return SimpleNamespace(
        app=Celery("run", broker="memory://", set_as_current=False),
        settings=Settings(),
        catalog=SimpleNamespace(custom_kinds=kinds),
        check_message_settings=lambda: None,
    )


def test_blanks_are_no_part_of_the_name_of_a_queue() -> None:
    """And between two commas there is none."""
    assert _queue_names("celery,, bulk ,") == ["celery", "bulk"]
    assert _queue_names(None) == []


def test_a_worker_consumes_the_queues_of_all_kinds_and_of_campaigns() -> None:
    """Campaigns come last, and no queue twice."""
    assert _default_queues(runtime(receipt="billing", notice="", second="billing")) == [
        "celery",
        "billing",
        GROUPS_QUEUE,
        BULK_QUEUE,
    ]


@pytest.mark.parametrize(("option", "name"), [("loglevel", "log level"), ("log_format", "log format")])
def test_an_unknown_level_or_format_is_refused(option: str, name: str) -> None:
    """Before anything is started."""
    with pytest.raises(InvalidInput) as caught:
        run_worker(runtime(), **{option: "loud"})
    assert caught.value.field == name
