"""The hierarchy of errors: each class has an exit code, each instance says what to do next."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ExitCode(IntEnum):
    """The exit codes of `mailctl` commands."""

    DONE = 0
    FAILED = 1  #: the operation failed, such as an email or a check
    USAGE = 2  #: wrong usage or configuration
    NOT_FOUND = 3
    REFUSED = 4  #: confirmation is required, a rule forbids it, or there is a conflict
    UNAVAILABLE = 5  #: a required service cannot be reached
    UNCONFIRMED = 6  #: a task of the service has finished, and nobody knows whether the email was sent
    PENDING = 8  #: not finished within the time limit (as in `gh`)
    INTERRUPTED = 130  #: Ctrl-C

    @staticmethod
    def most_severe(codes: Iterable[ExitCode]) -> ExitCode:
        """Return the exit code of a command on several emails from the codes of the emails."""
        return min(codes, key=_BY_SEVERITY.index, default=ExitCode.DONE)


_BY_SEVERITY = (
    ExitCode.UNAVAILABLE,
    ExitCode.USAGE,
    ExitCode.NOT_FOUND,
    ExitCode.FAILED,
    ExitCode.UNCONFIRMED,
    ExitCode.DONE,
)


class MailctlError(Exception):
    """An error that an operator can act on.

    Args:
        message: what is wrong, one sentence.
        fix: what to do about it.
    """

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


class InvalidInput(MailctlError):
    """A value from a caller or an operator is invalid.

    Args:
        field: the name of the value; it is the subject of the message.
        reason: why the value is invalid, as the rest of the sentence, such as "must be a number."
        fix: what to do about it.
    """

    exit_code = ExitCode.USAGE

    def __init__(self, field: str, reason: str, *, fix: str = "") -> None:
        super().__init__(f"{field} {reason}", fix=fix)
        self.field = field
        self.reason = reason


class LinkNotAllowed(InvalidInput):
    """A link leads to an origin that the settings do not allow."""


class ConfigurationError(MailctlError):
    """The settings, the app or the templates are invalid."""

    exit_code = ExitCode.USAGE


class ExtraMissing(ConfigurationError):
    """A package of one of mailctl's extras is not installed.

    Args:
        message: what is missing.
        extra: the name of the extra.
    """

    def __init__(self, message: str, *, extra: str) -> None:
        super().__init__(message, fix=f"Run in the folder of mailctl's source: pip install '.[{extra}]'")


class NotFound(MailctlError):
    """The requested email, user, template or other object does not exist."""

    exit_code = ExitCode.NOT_FOUND


class LogMissing(NotFound):
    """There is no delivery log at the configured path or URL, and this operation does not create one."""


class Refused(MailctlError):
    """A rule forbids the operation; nothing was changed."""

    exit_code = ExitCode.REFUSED


class IdempotencyConflict(Refused):
    """An idempotency key was used again with different content."""


class Unanswered(MailctlError):
    """The operator left a prompt with Ctrl-C or Ctrl-D; nothing was changed."""

    exit_code = ExitCode.INTERRUPTED


class ServiceUnavailable(MailctlError):
    """A required service cannot be reached."""

    exit_code = ExitCode.UNAVAILABLE


class BrokerUnavailable(ServiceUnavailable):
    """The Celery broker or the result backend cannot be reached."""


class BrokerRefused(BrokerUnavailable):
    """The broker refused a request.

    Args:
        message: what is wrong, one sentence.
        fix: what to do about it.
        exit_code: the exit code of the command.
    """

    def __init__(self, message: str, *, fix: str = "", exit_code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message, fix=fix)
        self.exit_code = exit_code


class LogUnavailable(ServiceUnavailable):
    """The delivery log cannot be reached, read or written."""


class UserDirectoryUnavailable(ServiceUnavailable):
    """The database of users cannot be reached."""


class LeaseEnded(MailctlError):
    """A worker must not send an email any more: another one may have claimed it."""


class RenderError(MailctlError):
    """A template cannot be rendered, or the resulting message is invalid."""


class EmailFailed(MailctlError):
    """An email reached a final state without being sent."""


class EmailUnconfirmed(MailctlError):
    """A task of the service has finished with an email, and does not say whether it was sent."""

    exit_code = ExitCode.UNCONFIRMED


class ContentDeleted(MailctlError):
    """The content of an email was deleted."""


class StillPending(MailctlError):
    """An email did not reach a final state within the time limit."""

    exit_code = ExitCode.PENDING
