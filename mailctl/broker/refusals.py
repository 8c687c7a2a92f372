"""Refusals of a broker, with a fix for each, by AMQP reply code and by error class of the driver."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from amqp.exceptions import MessageNacked
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from mailctl.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A reply by which a broker refuses a request."""

    exit_code: ExitCode
    #: A sentence that tells the operator what to do.
    fix: str
    #: The reason, where the broker gives none.
    reason: str = ""


_SETTINGS = "CELERY_BROKER_URL, REDIS_URL, or REDIS_HOST and REDIS_PORT"
_NO_ACCESS = Refusal(
    exit_code=ExitCode.USAGE,
    fix=f"Give the broker's user the permission, or correct its name and password: {_SETTINGS}.",
)
_NOT_ACCEPTED = Refusal(
    exit_code=ExitCode.FAILED,
    reason="it did not accept a message",
    fix="The queue is full or unavailable: check its limits and its state on the broker, then repeat.",
)
#: What to do if the certificate of a server is not accepted.
CERTIFICATE_FIX = (
    "Use the host name in its certificate, and name the CA that signed it with ssl_ca_certs=PATH in the URL."
)
_BY_REPLY_CODE = {
    311: Refusal(exit_code=ExitCode.FAILED, fix="Raise the broker's limit on the size of a message."),
    312: Refusal(exit_code=ExitCode.NOT_FOUND, fix="Start the app that consumes the queue, then repeat."),
    402: Refusal(exit_code=ExitCode.USAGE, fix=f"Correct the virtual host: {_SETTINGS}."),
    403: _NO_ACCESS,
    404: Refusal(exit_code=ExitCode.NOT_FOUND, fix="Start the app that declares it, then repeat."),
    405: Refusal(
        exit_code=ExitCode.REFUSED,
        fix="Another connection uses it exclusively: stop that program, then repeat.",
    ),
    406: Refusal(
        exit_code=ExitCode.REFUSED,
        fix="Compare the properties and limits of the queue on the broker with the requested ones.",
    ),
    530: Refusal(
        exit_code=ExitCode.USAGE,
        fix=f"Correct the virtual host, or the limits and permissions of the broker's user: {_SETTINGS}.",
    ),
}
_BY_CLASS: tuple[tuple[type[Exception], Refusal], ...] = (
    (MessageNacked, _NOT_ACCEPTED),
    (AuthenticationError, _NO_ACCESS),
    (
        OutOfMemoryError,
        Refusal(
            exit_code=ExitCode.FAILED, fix="This Redis is full: free memory in it, or raise its `maxmemory`."
        ),
    ),
    (
        ReadOnlyError,
        Refusal(
            exit_code=ExitCode.FAILED,
            fix=f"This Redis is a replica: use the address of the primary ({_SETTINGS}).",
        ),
    ),
    (NoPermissionError, _NO_ACCESS),
    (
        ResponseError,
        Refusal(
            exit_code=ExitCode.FAILED,
            fix="Check the memory, the role, the keys and the database number of this Redis server; a node of"
            " Redis Cluster cannot be used.",
        ),
    ),
)


def refusal_of(error: BaseException) -> Refusal | None:
    """Return the refusal that an error of the driver stands for; None if the broker did not answer."""
    for each in _with_causes(error):
        if found := _BY_REPLY_CODE.get(getattr(each, "reply_code", None) or 0):
            return found
        for kind, refusal in _BY_CLASS:
            if isinstance(each, kind):
                return refusal
    return None


def has_untrusted_certificate(error: BaseException) -> bool:
    """Whether the server answered, but its certificate was not accepted."""
    each: BaseException | None = error
    while each is not None and not isinstance(each, ssl.SSLCertVerificationError):
        each = each.__cause__ or each.__context__  # redis-py does not set __cause__
    return each is not None


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes: kombu wraps what a driver raises."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
