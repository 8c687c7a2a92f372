"""The options of a worker are checked, and its end becomes an exit code."""

from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from sqlalchemy import text

from mailctl.delivery_log.storage.engine import writing
from mailctl.errors import ExitCode, InvalidInput, LogUnavailable
from mailctl.runtime import Runtime
from mailctl.settings import BULK_QUEUE, GROUPS_QUEUE, Settings
from mailctl.worker.run import _choose_pool, _default_queues, _exit_code, _queue_names, run_worker

if TYPE_CHECKING:
    from pathlib import Path


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


def test_a_worker_that_drains_refuses_a_log_of_which_only_some_can_be_read(tmp_path: Path) -> None:
    """It would find no work and wait for ever."""
    parts = Runtime(Settings(mailctl_home=tmp_path))
    with writing(parts.engine) as connection:
        connection.execute(text("DROP TABLE mailctl_events"))
    with closing(parts), pytest.raises(LogUnavailable, match="Nothing can be recorded"):
        run_worker(parts, drain=True, pool="solo")


@pytest.mark.parametrize(("option", "name"), [("loglevel", "log level"), ("log_format", "log format")])
def test_an_unknown_level_or_format_is_refused(option: str, name: str) -> None:
    """Before anything is started."""
    with pytest.raises(InvalidInput) as caught:
        run_worker(runtime(), **{option: "loud"})
    assert caught.value.field == name
