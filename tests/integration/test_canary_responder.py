"""A worker answers a canary that another program published."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.runtime import Runtime
from mailctl.settings import Settings
from mailctl.worker.canary_responder import CANARY_PURPOSE, respond_to_canary

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("recipient", [{"a": 1}, ["a"], 7, True, "no seal"])
def test_an_invalid_recipient_is_reported_as_a_failed_step(recipient: Any, tmp_path: Path) -> None:
    """The sender gets an answer, and the worker logs no traceback."""
    with closing(Runtime(Settings(mailctl_home=tmp_path / "home"))) as runtime:
        [step] = respond_to_canary(runtime, "canary", recipient)
    assert (step["name"], step["ok"]) == ("worker-log", False)


def test_the_recipient_of_another_canary_is_refused(tmp_path: Path) -> None:
    """Whoever can write to the broker cannot send a canary of their own to an address of ours."""
    with closing(Runtime(Settings(mailctl_home=tmp_path / "home"))) as runtime:
        sealed = runtime.keyring.seal_text(b"zoe@example.com", purpose=CANARY_PURPOSE, bound_to=["canary"])
        assert respond_to_canary(runtime, "canary", sealed)[0]["ok"]
        [step] = respond_to_canary(runtime, "another canary", sealed)
    assert (step["name"], step["ok"]) == ("worker-log", False)
