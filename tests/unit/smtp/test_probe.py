"""A probe takes step after step until one fails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailctl.errors import ConfigurationError
from mailctl.smtp.failures import classify_error
from mailctl.smtp.probe import probe_session
from mailctl.smtp.server import SmtpServer


class FakeSession:
    """A session whose stages succeed or fail."""

    extensions = ("starttls", "size")
    tls = None
    helo_name = "web.example.com"

    def __init__(self, **errors: Exception) -> None:
        self.errors = errors
        self.stage = ""

    def opening_steps(self) -> list[tuple[str, Any]]:
        """Return all stages."""
        return [(name, lambda name=name: self._run(name)) for name in ("connect", "tls", "auth")]

    def explain(self, error: BaseException, **_more: object) -> Any:
        """Return the outcome of an exception."""
        return classify_error(error, stage=self.stage, body_handed_over=False)

    async def _run(self, name: str) -> None:
        if name in self.errors:
            raise self.errors[name]


def probed(server: SmtpServer, **errors: Exception) -> list[tuple[str, bool, str]]:
    session: Any = FakeSession(**errors)
    steps = asyncio.run(probe_session(session, server))
    return [(step.name, step.ok, step.detail) for step in steps]


def test_all_steps_are_reported() -> None:
    """With what the server offers, and who signed in."""
    server = SmtpServer(host="h", port=587, username="app", password="pw")
    assert probed(server) == [
        ("connect", True, "h:587 answers web.example.com and offers SIZE, STARTTLS"),
        ("tls", True, "not encrypted"),
        ("auth", True, "signed in as app"),
    ]


def test_a_token_that_is_also_the_user_name_is_masked() -> None:
    """As some services use one."""
    server = SmtpServer(host="h", port=587, username="token", password="token")
    assert probed(server)[-1] == ("auth", True, "signed in as ***")


@pytest.mark.parametrize("stage", ["connect", "tls", "auth"])
def test_the_first_failure_is_the_last_step(stage: str) -> None:
    """Later steps would fail as well."""
    steps = probed(SmtpServer(host="h", port=587), **{stage: ConfigurationError("it is wrong")})
    assert steps[-1] == (stage, False, "it is wrong")
    assert all(ok for _, ok, _ in steps[:-1])
