"""Control messages: parsed and validated by decisions on values, without input or output."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from celery.worker import control
from kombu.matcher import registry

from mailctl.worker.message_validation import InvalidMessage
from mailctl.worker.message_validation.headers import check_size, is_name
from mailctl.worker.remote_control.arguments import ARGUMENTS, are_names, is_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: The commands that a worker of mailctl's own app executes: those that read, those that turn events on and
#: off for Flower and other monitors, and `shutdown`. The others change the worker, for which mailctl has
#: commands of its own.
ALLOWED_COMMANDS = frozenset(
    {"ping", "clock", "stats", "report", "conf", "dump_conf", "registered", "dump_tasks", "active_queues"}
    | {"active", "dump_active", "reserved", "dump_reserved", "scheduled", "dump_schedule"}
    | {"revoked", "dump_revoked", "query_task", "memsample"}
    | {"enable_events", "disable_events", "heartbeat", "shutdown"}
)
_SHUTDOWN = "shutdown"
_FIELDS = frozenset({"method", "arguments", "destination", "pattern", "matcher", "reply_to", "ticket"})
_MAX_NAME = 255
#: The worker publishes its clock with every message; a greater one would soon be too large for AMQP.
_MAX_CLOCK = 2**62
#: A regular expression can run for years. Without groups and with few repetitions it is fast.
_MAX_REPETITIONS = 3
_REPETITION = re.compile(r"[*+?{|]")


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """The worker that a control message has reached."""

    hostname: str
    #: The only exchange that replies may go to.
    reply_exchange: str
    #: The commands of Celery and of the service, by name.
    commands: Mapping[str, Callable[..., Any]]
    #: Whether the app is mailctl's own, in which fewer commands are allowed.
    is_built_in: bool
    #: The number of processes or threads in the pool.
    pool_size: int


@dataclass(frozen=True, kw_only=True)
class ControlMessage:
    """A parsed control message, of which the command is not checked yet."""

    method: str
    arguments: dict[str, Any]
    #: Whether it names its workers, instead of addressing all of them or a pattern.
    is_addressed: bool
    reply_to: dict[str, str] | None
    ticket: str | None

    @property
    def body(self) -> dict[str, Any]:
        """The body that Celery handles in place of the original."""
        return {
            "method": self.method,
            "arguments": self.arguments,
            "reply_to": self.reply_to,
            "ticket": self.ticket,
        }


def check_clock(value: object) -> None:
    """Check the logical clock of the sender, which the worker adopts if it is ahead.

    Raises:
        InvalidMessage: the clock is not an integer, or it is too large.
    """
    if value is not None and not (isinstance(value, int) and 0 <= value < _MAX_CLOCK):
        raise InvalidMessage("its clock is invalid.")


def read(payload: object, receiver: Receiver) -> ControlMessage | None:
    """Return the control message in a decoded body; None if it is for other workers.

    Args:
        payload: the decoded body.
        receiver: the worker that received it.

    Raises:
        InvalidMessage: it is not a control message, or a field is invalid.
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
        raise InvalidMessage("its reply ticket is invalid.")
    return ControlMessage(
        method=method,
        arguments=arguments or {},
        is_addressed=bool(payload.get("destination")),
        reply_to=_reply_to(payload.get("reply_to"), receiver),
        ticket=ticket,
    )


def check_command(message: ControlMessage, receiver: Receiver) -> None:
    """Check that a worker may execute a command with its arguments.

    Args:
        message: the message with the command.
        receiver: the worker that received it.

    Raises:
        InvalidMessage: there is no such command, it is not allowed, or an argument is invalid.
    """
    command = receiver.commands.get(message.method)
    if command is None:
        raise InvalidMessage("there is no such command.")
    if receiver.is_built_in:
        _check_allowed(message)
    try:
        inspect.signature(command).bind(None, **message.arguments)
    except TypeError:
        raise InvalidMessage("its arguments are not those of the command.") from None
    if getattr(command, "__module__", None) == control.__name__:
        _check_arguments(message, pool_size=receiver.pool_size)


def _check_allowed(message: ControlMessage) -> None:
    if message.method not in ALLOWED_COMMANDS:
        raise InvalidMessage(
            "a worker of mailctl does not execute it; see `mailctl queue`, `hold` and `cancel`."
        )
    if message.method == _SHUTDOWN and (not message.is_addressed or message.arguments):
        raise InvalidMessage("it has to name the worker, without arguments; use `mailctl workers stop`.")


def _check_arguments(message: ControlMessage, *, pool_size: int) -> None:
    """Check the arguments of a command of Celery, which passes unknown ones on."""
    known = ARGUMENTS.get(message.method, {})
    for name, value in message.arguments.items():
        if name not in known:
            raise InvalidMessage("its arguments are not those of the command.")
        if not known[name](value):
            raise InvalidMessage("an argument has the wrong type, or is out of range.")
    if message.method == "pool_shrink" and message.arguments.get("n", 1) >= pool_size:
        raise InvalidMessage("it would leave no process in the pool.")


def _reply_to(value: object, receiver: Receiver) -> dict[str, str] | None:
    """Return the address of the reply, in the exchange for replies: others could lead to a queue of tasks."""
    if value is None:
        return None
    if not isinstance(value, dict) or value.get("exchange") != receiver.reply_exchange:
        raise InvalidMessage("its reply address is not in the exchange for replies.")
    routing_key = value.get("routing_key")
    if not is_name(routing_key):
        raise InvalidMessage("its reply address has no valid routing key.")
    return {"exchange": receiver.reply_exchange, "routing_key": routing_key}


def _is_for(payload: dict[Any, Any], receiver: Receiver) -> bool:
    destination, pattern, matcher = (payload.get(name) for name in ("destination", "pattern", "matcher"))
    if destination is not None and not (isinstance(destination, list | tuple) and are_names(destination)):
        raise InvalidMessage("its destination is not a list of names.")
    if not all(value is None or is_text(value) for value in (pattern, matcher)):
        raise InvalidMessage("its pattern is not a string.")
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
        raise InvalidMessage("its pattern is invalid.")
    try:
        return bool(registry.match(receiver.hostname, pattern, matcher))  # type: ignore[arg-type]
    except Exception:  # from a regular expression, or from a matcher of the service
        raise InvalidMessage("its pattern is invalid.") from None
