"""Calls to services with a deadline, and how long they took."""

from __future__ import annotations

import threading
import time
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from mailctl.errors import ServiceUnavailable
from mailctl.timefmt import format_milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds after which a service counts as unavailable.
DEADLINE_SECONDS = 3.0
_T = TypeVar("_T")


def call_with_deadline(
    question: Callable[[], _T],
    *,
    service: str,
    seconds: float = DEADLINE_SECONDS,
    error_class: type[ServiceUnavailable] = ServiceUnavailable,
) -> _T:
    """Return the result of a function, or raise an error after a deadline.

    The function runs in a thread, which is abandoned at the deadline: name resolution and some drivers wait
    for longer than their options say.

    Args:
        question: the function, which asks a service.
        service: the name of the service for the error message.
        seconds: the time limit in seconds.
        error_class: the class of the error.

    Raises:
        ServiceUnavailable: there was no result in time. Exceptions of the function are raised unchanged.
    """
    answers: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(question())
        except BaseException as error:
            errors.append(error)

    # The function words findings, which depend on the context: local times, options that commands repeat.
    work = partial(copy_context().run, run)
    thread = threading.Thread(target=work, name="mailctl-question", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise error_class(
            f"{service} did not answer within {seconds:g} s.",
            fix="Check that it is running, reachable from this host, and neither locked nor overloaded.",
        )
    return answers[0]


def timed_call_with_deadline(
    question: Callable[[], _T], *, service: str, seconds: float = DEADLINE_SECONDS
) -> tuple[_T, str]:
    """Return the result like `call_with_deadline`, and the time that it took, such as "1.4 ms"."""
    started = time.monotonic()
    answer = call_with_deadline(question, service=service, seconds=seconds)
    return answer, format_milliseconds(time.monotonic() - started)
