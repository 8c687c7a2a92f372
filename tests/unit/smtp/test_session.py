"""The stages of a session, and what it makes of replies; `tests/integration` has it with a real server."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING

import pytest
from typing_extensions import override

from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.smtp.server import SmtpServer
from mailctl.smtp.session import SmtpSession

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SERVER = SmtpServer(host="mail.example.com", port=587)


@pytest.mark.parametrize(
    ("server", "stages"),
    [
        (SERVER, ["connect", "tls"]),
        (SmtpServer(host="h", port=465, tls="implicit", username="u"), ["connect", "auth"]),
        (SmtpServer(host="h", port=587, username="u"), ["connect", "tls", "auth"]),
        (SmtpServer(host="h", port=25, tls="none"), ["connect"]),
    ],
)
def test_the_stages_of_opening_follow_from_the_settings(server: SmtpServer, stages: list[str]) -> None:
    """With implicit TLS, encryption is part of connecting."""
    made = SmtpSession(server, tls_context=ssl.create_default_context)
    assert [stage for stage, _ in made.opening_steps()] == stages


@pytest.mark.parametrize("code", [250, 421, 503, None])
def test_only_a_plain_refusal_leaves_a_session_to_reuse(code: int | None) -> None:
    """Other replies may belong to another command; here the connection is not even open."""
    made = SmtpSession(SERVER, tls_context=ssl.create_default_context)
    assert not made.can_be_reused(Outcome(kind=OutcomeKind.REFUSED, reply=SmtpReply(code=code)))


def test_a_failure_after_the_body_is_ambiguous() -> None:
    """The session knows its stage and whether the body was handed over."""
    made = SmtpSession(SERVER, tls_context=ssl.create_default_context)
    made.stage = "body"
    assert made.explain(ConnectionResetError()).kind is OutcomeKind.DEFERRED
    made.body_handed_over = True
    assert made.explain(ConnectionResetError()).kind is OutcomeKind.AMBIGUOUS


class LosingSession(SmtpSession):
    """A session whose first stage loses a cancellation, as `asyncio.wait_for` does before Python 3.12."""

    @override
    def opening_steps(self) -> list[tuple[str, Callable[[], Awaitable[object]]]]:
        async def connect() -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)

        async def authenticate() -> None:
            raise AssertionError("it goes on")

        return [("connect", connect), ("auth", authenticate)]


def test_a_cancellation_that_a_stage_loses_ends_the_opening() -> None:
    """Otherwise the message of a caller that has given up is sent."""
    session = LosingSession(SERVER, tls_context=ssl.create_default_context)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(session.open())
