"""The stages of a session, and what it makes of replies; `tests/integration` has it with a real server."""

from __future__ import annotations

import ssl

import pytest

from mailctl.domain.models import Outcome, OutcomeKind, SmtpReply
from mailctl.smtp.server import SmtpServer
from mailctl.smtp.session import SmtpSession

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
    assert not made.can_be_reused(Outcome(kind=OutcomeKind.BOUNCED, reply=SmtpReply(code=code)))


def test_a_failure_after_the_body_is_ambiguous() -> None:
    """The session knows its stage and whether the body was handed over."""
    made = SmtpSession(SERVER, tls_context=ssl.create_default_context)
    made.stage = "body"
    assert made.explain(ConnectionResetError()).kind is OutcomeKind.DEFERRED
    made.body_handed_over = True
    assert made.explain(ConnectionResetError()).kind is OutcomeKind.AMBIGUOUS
