"""Flower for an app, with the arguments of email tasks redacted, whoever published or executes them."""

from __future__ import annotations

import importlib.util
import logging
import os
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

_log = logging.getLogger("mailctl.flower")

_REDACTED = "(redacted)"
#: An exception can quote the arguments, so it is redacted as well.
_SENSITIVE_KEYS = ("args", "kwargs", "result", "exception", "traceback")
_MAILCTL_TASKS = TASK_NAMES | {BATCH_TASK, CANARY.task}
#: The attribute of Flower's module that holds the class of its receiver.
_RECEIVER_ATTRIBUTE = "EventReceiver"
#: The number of tasks that are remembered as tasks of other apps.
_MAX_OTHER_TASKS = 100_000
_MAX_PORT = 65_535
#: The environment variable from which Flower takes its port, unless an option gives it.
_PORT_VARIABLE = "FLOWER_PORT"
#: Options that set the address; without one of them, Flower listens on this host only.
_ADDRESS_OPTIONS = ("--address", "--unix_socket", "--unix-socket")


def run_flower(app: Celery, arguments: Sequence[str]) -> None:
    """Run Flower until it is stopped; it listens on this host only, unless an argument sets an address.

    Args:
        app: the app whose broker Flower watches.
        arguments: options for Flower, such as --port=5566 or --port 5566.

    Raises:
        ExtraMissing: Flower is not installed, or its version is not supported.
        ConfigurationError: the broker is in memory, where Flower would see nothing, or the port is in use.
        InvalidInput: Flower refuses an argument, or there is no such port.
    """
    if importlib.util.find_spec("flower") is None:
        raise ExtraMissing("Flower is not installed.", extra="flower")
    if has_memory_broker(app):
        raise ConfigurationError(
            "A memory broker is private to its process, so Flower would see nothing.",
            fix="Set DEBUG=False for Redis, or use `mailctl top`.",
        )
    _install_redaction(app)
    given = _join_option_values(arguments)
    _check_port(given)
    has_address = any(argument.split("=")[0] in _ADDRESS_OPTIONS for argument in given)
    option_error = importlib.import_module("tornado.options").Error
    try:
        app.start(["flower", *([] if has_address else ["--address=127.0.0.1"]), *given])
    except (option_error, ValueError) as error:
        raise InvalidInput(
            "arguments of Flower", f"are not valid: {error}.", fix="Write them like --port=5566."
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"Flower cannot listen: {(error.strerror or str(error)).lower()}.",
            fix="Choose another --port or --address.",
        ) from error


def _check_port(given: Sequence[str]) -> None:
    """Refuse a port that does not exist: Flower would listen on the rest of its division by 65536."""
    ports = [value for name, _, value in (each.partition("=") for each in given) if name == "--port"]
    for port in ports[-1:] or [os.environ.get(_PORT_VARIABLE, "")]:
        if port.isdecimal() and int(port) > _MAX_PORT:
            name = "--port" if ports else _PORT_VARIABLE
            raise InvalidInput(name, f"must be a number from 0 to {_MAX_PORT}.", fix="Choose another port.")


def _join_option_values(arguments: Sequence[str]) -> list[str]:
    """Return each option joined with its value: Flower does not accept `--port 5566`.

    Flower has no positional arguments, so an argument that follows an option is its value.
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
            "mailctl cannot redact the arguments of emails in this version of Flower.", extra="flower"
        )
    setattr(events, _RECEIVER_ATTRIBUTE, PrivateReceiver)
    app.control.inspect = app.subclass_with_self(PrivateInspect, reverse="control.inspect")


class PrivateReceiver(EventReceiver):  # type: ignore[misc]  # Celery has no types
    """Receives task events, and redacts the arguments of email tasks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Only the first event of a task has its name; later events of other tasks need no redaction either.
        self._other_task_ids: LRUCache = LRUCache(limit=_MAX_OTHER_TASKS)

    @override
    def _receive(self, body: Any, message: Any, **more: Any) -> None:
        """Process the events of a message, each by itself.

        One that no worker has sent is dropped: its error would end the connection, and others would be
        missed until the next one.
        """
        for event in body if isinstance(body, list) else [body]:
            try:
                super()._receive(event, message, **more)
            except Exception as error:
                _log.warning("dropped a message that is not a worker event (%s)", type(error).__name__)

    @override
    def event_from_message(self, *args: Any, **kwargs: Any) -> tuple[str, dict[str, Any]]:
        """Return an event, redacted unless it belongs to another task."""
        kind, event = super().event_from_message(*args, **kwargs)
        task_id, name = event.get("uuid"), event.get("name")
        if name is not None and name not in _MAILCTL_TASKS:
            self._other_task_ids[task_id] = True
        if task_id not in self._other_task_ids:
            event |= {key: _REDACTED for key in _SENSITIVE_KEYS if event.get(key)}
        return kind, event


class PrivateInspect(Inspect):  # type: ignore[misc]  # Celery has no types
    """Asks workers for their tasks, and redacts the arguments of email tasks."""

    @override
    def _request(self, command: str, **kwargs: Any) -> Any:
        return _redact_arguments(super()._request(command, **kwargs))


def _redact_arguments(value: Any) -> Any:
    """Return a reply with the arguments of every email task redacted."""
    if isinstance(value, dict):
        is_email = value.get("name") in _MAILCTL_TASKS
        return {
            key: _REDACTED if is_email and key in _SENSITIVE_KEYS else _redact_arguments(inner)
            for key, inner in value.items()
        }
    return [_redact_arguments(inner) for inner in value] if isinstance(value, list) else value
