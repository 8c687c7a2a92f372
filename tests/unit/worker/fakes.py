"""Stand-ins for clocks, for the delivery log and for the broker inspector."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from mailctl.broker.inspector import MessageCounts
from mailctl.domain.routing import DEFAULT_SERVER, Routing
from tests.emails import utc_now


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Calls:
    """Records calls of any method, and answers each with its value in `answers`, or the next of a list."""

    def __init__(self, **answers: Any) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.answers = answers

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))
            answer = self.answers.get(name)
            if isinstance(answer, list):
                answer = answer.pop(0)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return call

    @property
    def names(self) -> list[str]:
        """The names of the called methods, in order."""
        return [name for name, _, _ in self.calls]


class Broker:
    """A broker inspector with the depths of some queues."""

    def __init__(self, *, is_in_memory: bool = False, **depths: MessageCounts) -> None:
        self.is_in_memory = is_in_memory
        self.depths = depths

    def depth(self, queue: str) -> MessageCounts:
        return self.depths.get(queue, MessageCounts(ready=0, unacked=0))


def parts(**attributes: Any) -> Any:
    """Return a runtime with these attributes, the clock of the host, and one mail server."""
    circuits = attributes.get("circuits")
    more = {
        "circuits_by_server": {DEFAULT_SERVER: circuits} if circuits is not None else {},
        "mail_servers": SimpleNamespace(routing=Routing(), by_name={DEFAULT_SERVER: None}),
        "email_routes": None,
        "workers": Calls(list_alive=[]),
    }
    return SimpleNamespace(**{"clock": utc_now, "clock_skew_seconds": 0.0, **more, **attributes})
