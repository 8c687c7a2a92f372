"""Flower on the app: what it receives of emails has no arguments, whoever published or works them off."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from celery.app.control import Inspect
from celery.events.receiver import EventReceiver
from celery.utils.functional import LRUCache
from typing_extensions import override

from mailctl.broker.messages import BATCH_TASK
from mailctl.celery_app import has_memory_broker
from mailctl.domain.catalog import CANARY, TASK_NAMES
from mailctl.errors import ConfigurationError, ExtraMissing, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celery import Celery

_REDACTED = "(redacted)"
#: Exceptions of a service's own tasks may tell of the arguments, too.
_SENSITIVE_KEYS = ("args", "kwargs", "result", "exception", "traceback")
_MAILCTL_TASKS = TASK_NAMES | {BATCH_TASK, CANARY.task}
#: The name by which Flower knows what receives its events.
_RECEIVER_ATTRIBUTE = "EventReceiver"
#: Tasks that are not emails, and are remembered as such.
_MAX_FOREIGN_TASKS = 100_000
#: What says where it is to be reached, so that we need not.
_ADDRESS_OPTIONS = ("--address", "--unix_socket", "--unix-socket")


def run_flower(app: Celery, arguments: Sequence[str]) -> None:
    """Run Flower until it is stopped; reachable from this host only, unless an argument says otherwise.

    Args:
        app: whose broker is watched.
        arguments: Flower's own, such as --port=5566 or --port 5566.

    Raises:
        ConfigurationError: Flower is not installed, or there is nothing for it to see.
        InvalidInput: Flower cannot use an argument.
    """
    if importlib.util.find_spec("flower") is None:
        raise ExtraMissing("Flower is not installed.", extra="flower")
    if has_memory_broker(app):
        raise ConfigurationError(
            "A memory broker is private to its process, so that Flower would see nothing.",
            fix="Set DEBUG=False for Redis, or use `mailctl top`.",
        )
    _install_redaction(app)
    given = _join_option_values(arguments)
    is_told = any(argument.split("=")[0] in _ADDRESS_OPTIONS for argument in given)
    refusals = importlib.import_module("tornado.options").Error
    try:
        app.start(["flower", *([] if is_told else ["--address=127.0.0.1"]), *given])
    except (refusals, ValueError) as error:
        raise InvalidInput("arguments of Flower", f"{error}.", fix="Give them like --port=5566.") from error


def _join_option_values(arguments: Sequence[str]) -> list[str]:
    """Return options each with its value in one argument: Flower takes no `--port 5566`.

    It takes no arguments but options, so that what follows an option is its value.
    """
    given: list[str] = []
    for argument in arguments:
        is_value = not argument.startswith("-") and bool(given) and "=" not in given[-1]
        if is_value:
            given[-1] += f"={argument}"
        else:
            given.append(argument)
    return given


def _install_redaction(app: Celery) -> None:
    events = importlib.import_module("flower.events")
    if not hasattr(events, _RECEIVER_ATTRIBUTE):
        raise ExtraMissing(
            "In this version of Flower, mailctl cannot hide what emails carry.", extra="flower"
        )
    setattr(events, _RECEIVER_ATTRIBUTE, PrivateReceiver)
    app.control.inspect = app.subclass_with_self(PrivateInspect, reverse="control.inspect")


class PrivateReceiver(EventReceiver):  # type: ignore[misc]
    """Receives events of tasks, and forgets the arguments of emails."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Only the first event of a task has its name; of those that are not emails' the others are kept, too.
        self._strangers: LRUCache = LRUCache(limit=_MAX_FOREIGN_TASKS)

    @override
    def event_from_message(self, *args: Any, **kwargs: Any) -> tuple[str, dict[str, Any]]:
        """Return an event without what it says of arguments."""
        kind, event = super().event_from_message(*args, **kwargs)
        task_id, name = event.get("uuid"), event.get("name")
        if name is not None and name not in _MAILCTL_TASKS:
            self._strangers[task_id] = True
        if task_id not in self._strangers:
            event |= {key: _REDACTED for key in _SENSITIVE_KEYS if event.get(key)}
        return kind, event


class PrivateInspect(Inspect):  # type: ignore[misc]
    """Asks workers what they do, and forgets the arguments of emails."""

    @override
    def _request(self, command: str, **kwargs: Any) -> Any:
        return _redact_arguments(super()._request(command, **kwargs))


def _redact_arguments(value: Any) -> Any:
    """Return a reply in which every task of ours has lost its arguments."""
    if isinstance(value, dict):
        is_ours = value.get("name") in _MAILCTL_TASKS
        return {
            key: _REDACTED if is_ours and key in _SENSITIVE_KEYS else _redact_arguments(inner)
            for key, inner in value.items()
        }
    return [_redact_arguments(inner) for inner in value] if isinstance(value, list) else value
