"""A refusal is found by reply code and by class, in the error or in its causes."""

from __future__ import annotations

import pytest
from amqp.exceptions import AccessRefused, MessageNacked, NotFound, PreconditionFailed, ResourceLocked
from kombu.exceptions import OperationalError
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from mailctl.broker.refusals import refusal_of
from mailctl.errors import ExitCode


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AccessRefused(), ExitCode.USAGE),
        (NotFound(), ExitCode.NOT_FOUND),
        (ResourceLocked(), ExitCode.REFUSED),
        (PreconditionFailed(), ExitCode.REFUSED),
        (MessageNacked(), ExitCode.FAILED),
        (AuthenticationError(), ExitCode.USAGE),
        (NoPermissionError(), ExitCode.USAGE),
        (ResponseError("OOM"), ExitCode.FAILED),
    ],
)
def test_each_refusal_has_an_exit_code_and_a_fix(error: Exception, code: ExitCode) -> None:
    """The fix is a sentence."""
    refusal = refusal_of(error)
    assert refusal is not None
    assert refusal.exit_code == code
    assert refusal.fix.endswith(".")


def test_the_causes_of_an_error_count() -> None:
    """kombu wraps what a driver raises."""
    wrapped = OperationalError("wrapped")
    wrapped.__cause__ = AccessRefused()
    assert refusal_of(wrapped) == refusal_of(AccessRefused())


@pytest.mark.parametrize("error", [ConnectionRefusedError(), TimeoutError(), OperationalError("gone")])
def test_a_broker_that_does_not_answer_refuses_nothing(error: Exception) -> None:
    """None stands for it."""
    assert refusal_of(error) is None
