"""What a broker refuses and what to do about it, by the reply codes of AMQP and the errors of Redis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from amqp.exceptions import MessageNacked
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from mailctl.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A broker has answered, and does not do what it was asked for."""

    exit_code: ExitCode
    #: What to do about it.
    fix: str
    #: What was refused, where the broker has no words for it.
    reason: str = ""


_ADDRESS = "CELERY_BROKER_URL, REDIS_URL, or REDIS_HOST and its like"
_NO_ACCESS = Refusal(
    exit_code=ExitCode.USAGE,
    fix=f"Give the broker's user the permission, or correct user and password: {_ADDRESS}.",
)
_NOT_TAKEN = Refusal(
    exit_code=ExitCode.FAILED,
    reason="it has not taken a message",
    fix="The queue is full, or unavailable: look at its limits and its state on the broker, then repeat.",
)
_BY_REPLY_CODE = {
    311: Refusal(exit_code=ExitCode.FAILED, fix="Raise the broker's limit for the size of a message."),
    402: Refusal(exit_code=ExitCode.USAGE, fix=f"Correct the virtual host: {_ADDRESS}."),
    403: _NO_ACCESS,
    404: Refusal(exit_code=ExitCode.NOT_FOUND, fix="Start the app that declares it, then repeat."),
    405: Refusal(
        exit_code=ExitCode.REFUSED,
        fix="Another connection has it for itself (exclusive): stop that program, then repeat.",
    ),
    406: Refusal(
        exit_code=ExitCode.REFUSED,
        fix="Compare the properties and limits of the queue on the broker with what was asked for.",
    ),
    530: Refusal(
        exit_code=ExitCode.USAGE,
        fix=f"Correct the virtual host, or the limits and permissions of the broker's user: {_ADDRESS}.",
    ),
}
_BY_CLASS: tuple[tuple[type[Exception], Refusal], ...] = (
    (MessageNacked, _NOT_TAKEN),
    (AuthenticationError, _NO_ACCESS),
    (NoPermissionError, _NO_ACCESS),
    (
        ResponseError,
        Refusal(exit_code=ExitCode.FAILED, fix="Look at the memory, the role and the keys of this Redis."),
    ),
)


def refusal_of(error: BaseException) -> Refusal | None:
    """Return what a broker has refused; None if it did not answer."""
    for each in _with_causes(error):
        if found := _BY_REPLY_CODE.get(getattr(each, "reply_code", None) or 0):
            return found
        for kind, refusal in _BY_CLASS:
            if isinstance(each, kind):
                return refusal
    return None


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it comes from: kombu wraps what a driver raises."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
