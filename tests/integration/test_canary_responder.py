"""A worker answers a canary that another program published."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.runtime import Runtime
from mailctl.settings import Settings
from mailctl.worker.canary_responder import respond_to_canary

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("recipient", [{"a": 1}, ["a"], 7, True, "no seal"])
def test_an_invalid_recipient_is_reported_as_a_failed_step(recipient: Any, tmp_path: Path) -> None:
    """The sender gets an answer, and the worker logs no traceback."""
    with closing(Runtime(Settings(mailctl_home=tmp_path / "home"))) as runtime:
        [step] = respond_to_canary(runtime, recipient)
    assert (step["name"], step["ok"]) == ("worker-log", False)
