"""An attempt ends with a result, whatever happens in it; `tests/integration` has those with a mail server."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from mailctl.domain.models import Content, Envelope, User
from mailctl.domain.outcomes import Outcome, OutcomeKind
from mailctl.domain.routing import ServerPlan
from mailctl.errors import ConfigurationError, RenderError
from mailctl.worker.attempts import Attempts
from tests.unit.worker.fakes import Calls, parts

ENVELOPE = Envelope(
    sender="a@example.com", recipient="b@example.org", message_id="<m@example.com>", data=b"", subject="s"
)
CLAIM: Any = SimpleNamespace(
    id="a",
    kind="welcome",
    attempts=1,
    content=Content(user=User(email="b@example.org")),
    created_at=None,
    can_unsubscribe=False,
    plan=ServerPlan(),
    lease=SimpleNamespace(require=None),
)


def attempt(*, composes: Any = ENVELOPE, sends: Any = None, seconds: float | None = None) -> Any:
    """Return the result of an attempt.

    Args:
        composes: the message, or the error.
        sends: the outcome; None if the mail server never answers.
        seconds: the time limit.
    """

    async def compose(**_: object) -> Envelope:
        if isinstance(composes, Exception):
            raise composes
        return composes  # type: ignore[no-any-return]

    async def send(_envelope: Envelope, **_: object) -> Any:
        if sends is None:
            await asyncio.Event().wait()
        return sends

    runtime = parts(composer=SimpleNamespace(compose=compose), argument_rules=Calls(), catalog=Calls())
    servers: Any = SimpleNamespace(may_move_on=lambda *_: False)
    sender: Any = SimpleNamespace(send=send)
    return asyncio.run(Attempts(runtime, sender, servers).make(CLAIM, seconds=seconds))


def test_the_result_is_the_message_and_its_outcome() -> None:
    """Also if the mail server never answers within the time limit of the task."""
    accepted = Outcome(kind=OutcomeKind.ACCEPTED)
    assert attempt(sends=accepted) == (ENVELOPE, accepted)
    envelope, outcome = attempt(seconds=0.01)
    assert (envelope, outcome.kind) == (ENVELOPE, OutcomeKind.INTERRUPTED)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConfigurationError("The setting is wrong."), "The setting is wrong."),
        (KeyError("t=secret"), "The email cannot be rendered because of KeyError."),
    ],
)
def test_an_email_that_cannot_be_composed_has_an_error_for_operators(error: Exception, expected: str) -> None:
    """What a template raises may quote the email."""
    result = attempt(composes=error)
    assert isinstance(result, ConfigurationError | RenderError)
    assert str(result) == expected


def test_a_group_is_composed_before_it_is_sent() -> None:
    """By turns, both would take longer."""
    steps: list[str] = []

    async def compose(**_: object) -> Envelope:
        steps.append("compose")
        return ENVELOPE

    async def send(_envelope: Envelope, **_: object) -> Outcome:
        steps.append("send")
        return Outcome(kind=OutcomeKind.ACCEPTED)

    runtime = parts(composer=SimpleNamespace(compose=compose), argument_rules=Calls(), catalog=Calls())
    servers: Any = SimpleNamespace(may_move_on=lambda *_: False)
    sender: Any = SimpleNamespace(send=send)
    attempts = Attempts(runtime, sender, servers)

    async def make_all() -> None:
        await asyncio.gather(*(attempts.make(CLAIM, is_campaign=True) for _ in range(3)))

    asyncio.run(make_all())
    assert steps == ["compose"] * 3 + ["send"] * 3
