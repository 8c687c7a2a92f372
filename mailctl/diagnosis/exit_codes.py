"""Whether an email has failed, and the exit code of commands that report on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.domain.states import State
from mailctl.errors import ExitCode

if TYPE_CHECKING:
    from mailctl.domain.models import CeleryResult, Email


def has_ended_unsent(email: Email | None, result: CeleryResult | None) -> bool:
    """Whether an email is known to be finished without having been sent.

    Args:
        email: the email; None if the delivery log does not have it.
        result: its Celery result, which counts only then; None if there is none.
    """
    if email is not None:
        return email.has_ended_unsent
    return result is not None and result.state == "FAILURE"


def exit_code_of(state: State | None, *, has_failed: bool) -> ExitCode:
    """Return the exit code of a command that reports on one email.

    Args:
        state: the state of the email; None if the delivery log does not have it.
        has_failed: whether it is known to be finished without having been sent.
    """
    if state is State.UNCONFIRMED:
        return ExitCode.UNCONFIRMED
    return ExitCode.FAILED if has_failed else ExitCode.DONE
