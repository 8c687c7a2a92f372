"""One hierarchy of errors; every class knows its exit code, every instance what to do next."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ExitCode(IntEnum):
    """The exit codes of every `mailctl` command, and nowhere else."""

    DONE = 0
    FAILED = 1  #: the operation failed: an email failed, a check failed
    USAGE = 2  #: wrong usage or configuration
    NOT_FOUND = 3
    REFUSED = 4  #: needs confirmation, a guard says no, or a conflict
    UNAVAILABLE = 5  #: a service that is needed cannot be reached
    PENDING = 8  #: not finished in the time given (the code that `gh` uses)
    INTERRUPTED = 130  #: Ctrl-C

    @staticmethod
    def most_severe(codes: Iterable[ExitCode]) -> ExitCode:
        """Return the code of a command to several emails of which each has a code of its own."""
        return min(codes, key=_BY_SEVERITY.index, default=ExitCode.DONE)


_BY_SEVERITY = (ExitCode.UNAVAILABLE, ExitCode.USAGE, ExitCode.NOT_FOUND, ExitCode.FAILED, ExitCode.DONE)


class MailctlError(Exception):
    """Something that an operator can act on.

    Args:
        message: one sentence that says what is wrong.
        fix: what to do about it.
    """

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


class InvalidInput(MailctlError):
    """A value that was given cannot be used.

    Args:
        field: the name of the value, as its giver knows it.
        reason: why it cannot be used.
    """

    exit_code = ExitCode.USAGE

    def __init__(self, field: str, reason: str, *, fix: str = "") -> None:
        super().__init__(f"{field}: {reason}", fix=fix)
        self.field = field
        self.reason = reason


class ConfigurationError(MailctlError):
    """The settings, the app or the templates are not usable as they stand."""

    exit_code = ExitCode.USAGE


class ExtraMissing(ConfigurationError):
    """A package is not installed that an extra of mailctl brings.

    Args:
        message: what is missing.
        extra: its name.
    """

    def __init__(self, message: str, *, extra: str) -> None:
        super().__init__(message, fix=f"In the folder of mailctl's source: pip install '.[{extra}]'")


class NotFound(MailctlError):
    """Nobody knows the email, the user or the template that was asked for."""

    exit_code = ExitCode.NOT_FOUND


class LogMissing(NotFound):
    """There is no delivery log at the address of the settings, and what was asked for does not create one."""


class Refused(MailctlError):
    """A guard says no; nothing was changed."""

    exit_code = ExitCode.REFUSED


class IdempotencyConflict(Refused):
    """The same idempotency key came with other content within its window."""


class Unanswered(MailctlError):
    """The operator left a question with Ctrl-C or Ctrl-D; nothing was changed."""

    exit_code = ExitCode.INTERRUPTED


class ServiceUnavailable(MailctlError):
    """A service that is needed cannot be reached."""

    exit_code = ExitCode.UNAVAILABLE


class BrokerUnavailable(ServiceUnavailable):
    """The Celery broker (or the result backend) cannot be reached."""


class BrokerRefused(BrokerUnavailable):
    """The broker answers, and refuses what was asked of it.

    Args:
        exit_code: that of the command.
    """

    def __init__(self, message: str, *, fix: str = "", exit_code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message, fix=fix)
        self.exit_code = exit_code


class LogUnavailable(ServiceUnavailable):
    """The delivery log cannot be reached, read or written."""


class UserDirectoryUnavailable(ServiceUnavailable):
    """The database in which the users live cannot be reached."""


class RenderError(MailctlError):
    """A template cannot be rendered, or a message is not what it was meant to be."""


class EmailFailed(MailctlError):
    """The email reached a final state in which it was not delivered."""


class ContentDeleted(MailctlError):
    """What an email was made of is not kept any more."""


class StillPending(MailctlError):
    """The email was not finished in the time given."""

    exit_code = ExitCode.PENDING
