"""Remote control messages: read and validated before Celery acts on them.

Everything here is a decision on values: nothing is read, written or published.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from celery.worker import control
from kombu.matcher import registry

from mailctl.worker.message_validation.headers import InvalidMessage, check_size, is_name
from mailctl.worker.remote_control.arguments import ARGUMENTS, are_names, is_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Commands that a worker of mailctl's own app obeys: those that read, those that turn events on and off for
#: Flower and others who listen, and `shutdown`. All others change what the worker does, and mailctl has
#: its own ways to do that.
OBEYED = frozenset(
    {"ping", "clock", "stats", "report", "conf", "dump_conf", "registered", "dump_tasks", "active_queues"}
    | {"active", "dump_active", "reserved", "dump_reserved", "scheduled", "dump_schedule"}
    | {"revoked", "dump_revoked", "query_task", "memsample"}
    | {"enable_events", "disable_events", "heartbeat", "shutdown"}
)
_SHUTDOWN = "shutdown"
_FIELDS = frozenset({"method", "arguments", "destination", "pattern", "matcher", "reply_to", "ticket"})
_MAX_NAME = 255
#: A clock above this would soon be a number that AMQP cannot carry, in all that the worker publishes.
_MAX_CLOCK = 2**62
#: Regular expressions can take years. Without groups and with few repetitions they are fast.
_MAX_REPETITIONS = 3
_REPETITION = re.compile(r"[*+?{|]")


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """The worker that a control message has reached."""

    hostname: str
    #: The one exchange that replies go to.
    reply_exchange: str
    #: Celery's and the service's, by name.
    commands: Mapping[str, Callable[..., Any]]
    #: Whether the app is mailctl's own: a service may need more commands.
    is_own: bool
    #: Processes or threads in the pool.
    pool_size: int


@dataclass(frozen=True, kw_only=True)
class ControlMessage:
    """A message with the right form; its command is not checked yet."""

    method: str
    arguments: dict[str, Any]
    #: Whether it names the worker, instead of being for all, or for a pattern.
    is_addressed: bool
    reply_to: dict[str, str] | None
    ticket: str | None

    @property
    def body(self) -> dict[str, Any]:
        """What Celery gets instead of the original."""
        return {
            "method": self.method,
            "arguments": self.arguments,
            "reply_to": self.reply_to,
            "ticket": self.ticket,
        }


def check_clock(value: object) -> None:
    """Check the logical clock of the sender, which the worker's follows.

    Raises:
        Unusable: it is no number, or too large.
    """
    if value is not None and not (isinstance(value, int) and 0 <= value < _MAX_CLOCK):
        raise InvalidMessage("its clock is not usable.")


def read(payload: object, receiver: Receiver) -> ControlMessage | None:
    """Return what a message says to a worker; None if it is for other workers.

    Raises:
        Unusable: it has the wrong form.
    """
    if not isinstance(payload, dict) or not payload.keys() <= _FIELDS:
        raise InvalidMessage("it is not a control message.")
    check_size(payload, "fields")
    if not _is_for(payload, receiver):
        return None
    method, arguments = payload.get("method"), payload.get("arguments")
    if not is_name(method):
        raise InvalidMessage("it names no command.")
    if not isinstance(arguments, dict | None) or not all(isinstance(name, str) for name in arguments or ()):
        raise InvalidMessage("its arguments are not an object.")
    ticket = payload.get("ticket")
    if ticket is not None and not is_name(ticket):
        raise InvalidMessage("its ticket is not usable.")
    return ControlMessage(
        method=method,
        arguments=arguments or {},
        is_addressed=bool(payload.get("destination")),
        reply_to=_reply_to(payload.get("reply_to"), receiver),
        ticket=ticket,
    )


def check_command(message: ControlMessage, receiver: Receiver) -> None:
    """Check that a worker obeys a command, with these arguments.

    Raises:
        Unusable: it does not.
    """
    command = receiver.commands.get(message.method)
    if command is None:
        raise InvalidMessage("there is no such command.")
    if receiver.is_own:
        _check_own(message)
    try:
        inspect.signature(command).bind(None, **message.arguments)
    except TypeError:
        raise InvalidMessage("its arguments are not those of the command.") from None
    if getattr(command, "__module__", None) == control.__name__:
        _check_arguments(message, pool_size=receiver.pool_size)


def _check_own(message: ControlMessage) -> None:
    if message.method not in OBEYED:
        raise InvalidMessage(
            "a worker of mailctl does not obey it; see `mailctl queue`, `hold` and `cancel`."
        )
    if message.method == _SHUTDOWN and (not message.is_addressed or message.arguments):
        raise InvalidMessage("it has to name the worker, and nothing else; use `mailctl workers stop`.")


def _check_arguments(message: ControlMessage, *, pool_size: int) -> None:
    """Check the arguments of a command of Celery's, which passes on what it does not know."""
    known = ARGUMENTS.get(message.method, {})
    for name, value in message.arguments.items():
        if name not in known:
            raise InvalidMessage("its arguments are not those of the command.")
        if not known[name](value):
            raise InvalidMessage("an argument has the wrong type, or is out of range.")
    if message.method == "pool_shrink" and message.arguments.get("n", 1) >= pool_size:
        raise InvalidMessage("nothing would be left of the pool.")


def _reply_to(value: object, receiver: Receiver) -> dict[str, str] | None:
    """Return where the reply goes: the exchange for replies, never one that leads to a queue of tasks."""
    if value is None:
        return None
    if not isinstance(value, dict) or value.get("exchange") != receiver.reply_exchange:
        raise InvalidMessage("its reply does not go to the exchange for replies.")
    routing_key = value.get("routing_key")
    if not is_name(routing_key):
        raise InvalidMessage("its reply has no usable routing key.")
    return {"exchange": receiver.reply_exchange, "routing_key": routing_key}


def _is_for(payload: dict[Any, Any], receiver: Receiver) -> bool:
    destination, pattern, matcher = (payload.get(name) for name in ("destination", "pattern", "matcher"))
    if destination is not None and not (isinstance(destination, list | tuple) and are_names(destination)):
        raise InvalidMessage("its destination is not a list of names.")
    if not all(value is None or is_text(value) for value in (pattern, matcher)):
        raise InvalidMessage("its pattern is not a text.")
    if destination:
        return receiver.hostname in destination
    if not (pattern and matcher):
        return True
    return _matches(pattern, matcher, receiver)


def _matches(pattern: str, matcher: str, receiver: Receiver) -> bool:
    if matcher == "glob":
        return fnmatch(receiver.hostname, pattern)
    is_known = matcher in registry._matchers
    if matcher == "pcre":
        is_known = "(" not in pattern and len(_REPETITION.findall(pattern)) <= _MAX_REPETITIONS
    if not is_known:
        raise InvalidMessage("its pattern is not usable.")
    try:
        return bool(registry.match(receiver.hostname, pattern, matcher))  # type: ignore[arg-type]
    except Exception:  # a regular expression, or whatever else the service's matcher takes
        raise InvalidMessage("its pattern is not usable.") from None
