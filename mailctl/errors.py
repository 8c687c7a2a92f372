"""The hierarchy of errors: each class has an exit code, each instance says what to do next."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ExitCode(IntEnum):
    """The exit codes of `mailctl` commands."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    UNAVAILABLE = 5
    UNCONFIRMED = 6
    PENDING = 8  #: as in `gh`
    TRY_AGAIN = 75  #: EX_TEMPFAIL
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """What the code says, in one sentence."""
        return _MEANINGS[self]

    @staticmethod
    def most_severe(codes: Iterable[ExitCode]) -> ExitCode:
        """Return the exit code of a command on several emails from the codes of the emails."""
        return min(codes, key=_BY_SEVERITY.index, default=ExitCode.DONE)


_MEANINGS = {
    ExitCode.DONE: "The command succeeded.",
    ExitCode.FAILED: "The operation failed, such as an email or a check.",
    ExitCode.USAGE: "The usage, an argument or the configuration is wrong.",
    ExitCode.NOT_FOUND: "The email, user, queue or other object does not exist.",
    ExitCode.REFUSED: "A confirmation is needed, a rule forbids it, or there is a conflict.",
    ExitCode.UNAVAILABLE: "A required service cannot be reached.",
    ExitCode.UNCONFIRMED: "The service's own task does not say whether it sent the email.",
    ExitCode.PENDING: "The email was not finished within the time limit.",
    ExitCode.TRY_AGAIN: "A mail server should hand the message over again later.",
    ExitCode.INTERRUPTED: "Ctrl-C was pressed, or a prompt was not answered.",
}
_BY_SEVERITY = (
    ExitCode.UNAVAILABLE,
    ExitCode.USAGE,
    ExitCode.NOT_FOUND,
    ExitCode.FAILED,
    ExitCode.UNCONFIRMED,
    ExitCode.DONE,
)


def suggest_name(name: str, known: Iterable[str], *, label: str = "Use one of") -> str:
    """Return what to do about a name that is not known: the name that was probably meant, or all of them.

    Args:
        name: the given name.
        known: the names that exist.
        label: the beginning of the sentence that lists them.
    """
    names = list(map(str, known))
    closest = closest_name(name, names)
    return f"Did you mean {closest!r}?" if closest else f"{label}: {', '.join(names) or 'none'}."


def closest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like a given one; None if none is like it."""
    from difflib import get_close_matches

    by_lower_case = {str(each).lower(): str(each) for each in known}
    return next((by_lower_case[each] for each in get_close_matches(name.lower(), by_lower_case, n=1)), None)


#: The fields that are nouns, and not names of options, parameters or variables.
_NOUNS = frozenset(
    (
        *("recipient", "recipients", "subject", "token", "user id", "task id", "email id", "idempotency key"),
        *("address", "template", "locale", "file", "file name", "list", "content", "header", "headers"),
        *("form", "variable", "row", "queue", "queue or kind", "queue and kind", "ids", "port", "sender"),
        *("user", "argument"),
    )
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

    @property
    def with_fix(self) -> str:
        """What is wrong and what to do, in one line of a log."""
        return f"{self.message} {self.fix}".rstrip()


class InvalidInput(MailctlError):
    """A value from a caller or an operator is invalid.

    Args:
        field: the name of the value; it is the subject of the message, with an article if it is a noun.
        reason: why the value is invalid, as the rest of the sentence, such as "must be a number."
        fix: what to do about it.
        subject: another subject of the message; "" for the field.
    """

    exit_code = ExitCode.USAGE

    def __init__(self, field: str, reason: str, *, fix: str = "", subject: str = "") -> None:
        super().__init__(f"{subject or _with_article(field)} {reason}", fix=fix)
        self.field = field
        self.reason = reason


def _with_article(field: str) -> str:
    """Return a field as the subject of a sentence: a noun gets an article, the name of an option none."""
    return f"The {field}" if field in _NOUNS else field


class UnknownName(InvalidInput):
    """A value is none of a fixed set of names.

    Args:
        noun: what the value should be, such as "state".
        name: the given value.
        known: the names that are valid.
        is_service_defined: whether the service decides which names there are, as it does for kinds.
    """

    def __init__(
        self, noun: str, name: str, known: Iterable[str], *, is_service_defined: bool = False
    ) -> None:
        article = "an" if noun[:1] in "aeiou" else "a"
        super().__init__(noun, f"is not {article} {noun}.", fix=suggest_name(name, known), subject=repr(name))
        if is_service_defined:
            self.message = f"There is no {noun} {name!r}."
            self.args = (self.message,)


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


class DnsUnavailable(ServiceUnavailable):
    """A DNS query gets no answer."""


class DnsServerFailure(DnsUnavailable):
    """The DNS server answers a query with an error, such as SERVFAIL; other queries may succeed."""


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
