"""The arguments of Celery's control commands have a type and bounds."""

from __future__ import annotations

import math
from typing import Any

import pytest
from celery.worker.control import Panel

from mailctl.worker.remote_control.arguments import ARGUMENTS


@pytest.mark.parametrize(
    ("command", "name", "valid", "invalid"),
    [
        ("query_task", "ids", ("a", ["a"]), (None, [""], ["x"] * 1001)),
        ("revoke", "signal", ("TERM", 9, None), ("", 65, True)),
        ("rate_limit", "rate_limit", ("10/m", "1.5", 0, None), ("fast", "1/d", -1)),
        ("time_limit", "hard", (5, 0.5, None), (0, -1, math.inf, True, "5")),
        ("pool_grow", "n", (1, 256), (0, 257, True, None)),
        ("pool_restart", "reloader", (None,), ("x",)),
        ("autoscale", "max", (256, None), (257,)),
        ("objgraph", "max_depth", (100,), (101,)),
        ("shutdown", "msg", ("", "bye"), (None, "x" * 256, "a\n")),
        ("hello", "revoked", (None, {"a": 1.0}, ["a"]), (7, {"": 1})),
        ("revoke_by_stamped_headers", "headers", ({"a": ["b"]}, ["a=b"]), (["a"], "a=b", {"a": ""})),
        ("add_consumer", "exchange_type", (None, "topic"), ("x-other",)),
        ("add_consumer", "durable", (True, None), (1,)),
    ],
)
def test_each_argument_has_a_type_and_bounds(
    command: str, name: str, valid: tuple[Any, ...], invalid: tuple[Any, ...]
) -> None:
    """A worker would store an invalid one, and fail later."""
    is_valid = ARGUMENTS[command][name]
    assert [value for value in valid if not is_valid(value)] == []
    assert [value for value in invalid if is_valid(value)] == []


def test_every_listed_command_exists_in_celery() -> None:
    """Celery may rename one."""
    assert set(ARGUMENTS) <= set(Panel.data)
