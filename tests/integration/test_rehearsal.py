"""What a worker answers to a canary that is published by hand."""

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
def test_a_recipient_that_is_none_is_a_step_that_failed(recipient: Any, tmp_path: Path) -> None:
    """Whoever waits for the answer gets one, and the worker's log no traceback."""
    with closing(Runtime(Settings(mailctl_home=tmp_path / "home"))) as runtime:
        [step] = respond_to_canary(runtime, recipient)
    assert (step["name"], step["ok"]) == ("worker-log", False)
