"""A worker answers a canary that another program published."""

from __future__ import annotations

import uuid
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from mailctl.runtime import Runtime
from mailctl.settings import Settings
from mailctl.worker.canary_responder import CANARY_PURPOSE, respond_to_canary
from tests.smtp_server import ScriptedSmtpServer

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


def test_the_sender_is_that_of_an_email(tmp_path: Path) -> None:
    """A mail server may refuse the bounce address, and not the address that people see."""
    with ScriptedSmtpServer() as server:
        settings = Settings(
            mailctl_home=tmp_path / "home",
            secret_key=SecretStr("a-key-of-the-tests-with-some-length"),
            mailctl_bounce_address="bounces@example.com",
            email_enabled=True,
            email_host="127.0.0.1",
            email_port=server.port,
            email_tls="none",
        )
        with closing(Runtime(settings)) as runtime:
            steps = respond_to_canary(runtime, str(uuid.uuid4()), None)
        assert {step["name"] for step in steps} >= {"connect", "mail", "rcpt"}
        assert all(step["ok"] for step in steps)
        assert server.wait_for_line(r"MAIL FROM:<bounces\+[a-z2-7]+@example\.com>")
