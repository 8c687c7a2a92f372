"""Task results as a result backend stores them: of any type and length, written by any program."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from celery import states
from kombu.exceptions import SerializationError

from mailctl.broker.messages import PROBE_BODY, probe_name
from mailctl.broker.task_arguments import REFERENCE_ARGUMENT
from mailctl.domain.models import CeleryResult
from mailctl.errors import BrokerUnavailable

#: The exceptions that mailctl's tasks store for an email that was not sent.
_MAILCTL_ERRORS = frozenset({"EmailDeferred", "EmailFailed"})
#: The argument of the TaskRevokedError that Celery stores for a task that was stopped while it ran.
_TERMINATED = "terminated"
#: Characters of a stored text that are shown.
_MAX_TEXT = 1000
#: The result for an entry that Celery cannot have stored.
_UNREADABLE = CeleryResult(
    state="UNREADABLE", text="the result backend has an entry for this task that is not a Celery result"
)


def as_raw_reader(backend: Any) -> Any:
    """Return a result backend over the same connections that does not convert results to exceptions.

    Celery would call the class that a stored result names, and fails on results of other shapes.
    """
    # Not by `copy`: Celery defines it to make a new backend for its current app.
    reader = object.__new__(type(backend))
    vars(reader).update(vars(backend))
    reader.meta_from_decoded = _unchanged
    return reader


def read_stored_meta(reader: Any, task_id: str) -> object:
    """Return the stored entry of a task, of whatever type; None if it cannot be decoded."""
    try:
        return reader.get_task_meta(task_id, cache=False)
    except (SerializationError, RecursionError):
        return None


def forget_result(app: Any, task_id: str) -> None:
    """Delete the stored result of a task, so that only its next run can store one.

    Raises:
        BrokerUnavailable: the result backend does not answer.
    """
    try:
        app.backend.forget(task_id)
    except NotImplementedError:
        return  # such a backend stores nothing that could be read later
    except Exception as error:
        raise BrokerUnavailable(
            f"The old result of task {task_id} cannot be deleted: {type(error).__name__}.",
            fix="Start the result backend.",
        ) from error


def store_probe(backend: Any) -> None:
    """Store a result in Redis and delete it in one atomic step; do nothing with another result backend."""
    # Imported here, because only checks need it.
    from celery.backends.redis import RedisBackend

    if not isinstance(backend, RedisBackend):
        return
    key = backend.get_key_for_task(probe_name())
    with backend.client.pipeline(transaction=True) as pipeline:
        pipeline.set(key, PROBE_BODY)
        pipeline.delete(key)
        pipeline.execute()


def parse_result(meta: object) -> CeleryResult | None:
    """Return the result in a stored entry; None if the task has no result."""
    state = meta.get("status") if isinstance(meta, dict) else None
    if not isinstance(meta, dict) or not isinstance(state, str) or len(state) > _MAX_TEXT:
        return _UNREADABLE
    if state == states.PENDING:
        return None
    stored = meta.get("result")
    has_reference = isinstance(stored, dict) and REFERENCE_ARGUMENT in stored
    message = _exception_text(stored)[:_MAX_TEXT] if state in states.EXCEPTION_STATES else ""
    return CeleryResult(
        state=state,
        text=message,
        is_from_mailctl=_is_mailctl_error(stored) or has_reference,
        value=stored if state == states.SUCCESS else None,
        error_type=_error_type(stored) if state in states.EXCEPTION_STATES else "",
        is_terminated=state == states.REVOKED and message == _TERMINATED,
        finished_at=_finished_at(meta.get("date_done")),
        task=name[:_MAX_TEXT] if isinstance(name := meta.get("name"), str) else "",
    )


def successful_value(meta: object) -> Any:
    """Return the value in the stored entry of a successful task; None for any other entry."""
    is_success = isinstance(meta, dict) and meta.get("status") == states.SUCCESS
    return meta.get("result") if isinstance(meta, dict) and is_success else None


def _exception_text(stored: object) -> str:
    """Return the text of an exception that Celery or another program stored."""
    if isinstance(stored, dict):
        stored = stored.get("exc_message")
    elif isinstance(stored, BaseException):  # from a backend that pickles
        stored = stored.args
    if isinstance(stored, list | tuple):
        return ", ".join(str(part) for part in stored if isinstance(part, str | int | float))
    return str(stored) if isinstance(stored, str | int | float) else ""


def _is_mailctl_error(stored: object) -> bool:
    return _error_type(stored) in _MAILCTL_ERRORS


def _error_type(stored: object) -> str:
    """Return the name of the class of an exception that was stored; "" if there is none."""
    name = stored.get("exc_type") if isinstance(stored, dict) else type(stored).__name__
    return name[:_MAX_TEXT] if isinstance(name, str) else ""


def _finished_at(stored: object) -> datetime | None:
    """Return the time at which a task finished; old versions of Celery store it without a zone."""
    if isinstance(stored, str):
        try:
            stored = datetime.fromisoformat(stored)
        except ValueError:
            return None
    if not isinstance(stored, datetime):
        return None
    return stored.replace(tzinfo=UTC) if stored.tzinfo is None else stored.astimezone(UTC)


def _unchanged(meta: object) -> object:
    return meta
