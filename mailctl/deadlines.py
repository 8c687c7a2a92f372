"""Questions to services: each with a deadline, and the time that the answer took."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

from mailctl.errors import ServiceUnavailable
from mailctl.timefmt import format_milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds after which a service counts as one that does not answer.
DEADLINE_SECONDS = 3.0
_T = TypeVar("_T")


def call_with_deadline(
    question: Callable[[], _T],
    *,
    whom: str,
    seconds: float = DEADLINE_SECONDS,
    error_class: type[ServiceUnavailable] = ServiceUnavailable,
) -> _T:
    """Return the answer to a question, or give up on it.

    It is asked in a thread that is left behind if the answer is late: name resolution and some drivers wait
    for longer than any of their options says.

    Args:
        whom: who is asked, for the error's text.
        seconds: how long to wait.
        error_class: what to raise when there is no answer.

    Raises:
        ServiceUnavailable: there was no answer in time. What the question itself raises comes through.
    """
    answers: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(question())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="mailctl-question", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise error_class(
            f"{whom} gave no answer within {seconds:g} s.",
            fix="Is it running, reachable from this host, and not overloaded?",
        )
    return answers[0]


def timed_call_with_deadline(
    question: Callable[[], _T], *, whom: str, seconds: float = DEADLINE_SECONDS
) -> tuple[_T, str]:
    """Return the answer like `ask`, and how long it took, such as "1.4 ms"."""
    started = time.monotonic()
    answer = call_with_deadline(question, whom=whom, seconds=seconds)
    return answer, format_milliseconds(time.monotonic() - started)
