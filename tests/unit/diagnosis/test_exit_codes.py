"""Whether an email has failed, and the exit code that says so."""

from __future__ import annotations

import pytest

from mailctl.diagnosis.exit_codes import exit_code_of, has_ended_unsent
from mailctl.domain.models import CeleryResult
from mailctl.domain.states import State
from mailctl.errors import ExitCode
from tests.emails import email

FAILURE, SUCCESS = (CeleryResult(state=state, text="") for state in ("FAILURE", "SUCCESS"))


@pytest.mark.parametrize(
    ("state", "result", "expected"),
    [
        (State.FAILED, None, True),
        (State.EXPIRED, SUCCESS, True),
        (State.SENT, FAILURE, False),
        (State.DEFERRED, FAILURE, False),
        (None, FAILURE, True),
        (None, SUCCESS, False),
        (None, None, False),
    ],
)
def test_the_log_knows_better_than_celery(
    state: State | None, result: CeleryResult | None, expected: bool
) -> None:
    """A result counts where the log has nothing."""
    assert has_ended_unsent(email(state) if state else None, result) is expected


@pytest.mark.parametrize(
    ("state", "has_failed", "code"),
    [
        (State.SENT, False, ExitCode.DONE),
        (None, False, ExitCode.DONE),
        (State.FAILED, True, ExitCode.FAILED),
        (None, True, ExitCode.FAILED),
        (State.UNCONFIRMED, False, ExitCode.UNCONFIRMED),
    ],
)
def test_the_exit_code_says_what_is_known(state: State | None, has_failed: bool, code: ExitCode) -> None:
    """The same for every command that reports on an email."""
    assert exit_code_of(state, has_failed=has_failed) is code
