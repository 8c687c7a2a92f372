"""Results of tasks as a result backend has them stored: of any type and length, by any program."""

from __future__ import annotations

from typing import Any

from celery import states
from kombu.exceptions import SerializationError

from mailctl.broker.task_arguments import REFERENCE_ARGUMENT
from mailctl.domain.models import CeleryResult

#: What our tasks store as the result of an email that was not delivered.
_OUR_ERRORS = frozenset({"EmailDeferred", "EmailFailed"})
#: Characters of what a task has stored that are of use to a reader.
_MAX_TEXT = 1000
#: Stands for an entry that Celery cannot have stored.
_UNREADABLE = CeleryResult(
    state="UNREADABLE", text="the result backend has an entry for it that is not a Celery result"
)


def leave_as_stored(backend: Any) -> Any:
    """Return a reader of a result backend, over the same connections, that makes no exceptions of results.

    Celery would call the class that a stored result names, and fails on results of other shapes.
    """
    # Not `copy`, by which Celery makes a new backend for its current app.
    reader = object.__new__(type(backend))
    vars(reader).update(vars(backend))
    reader.meta_from_decoded = _same
    return reader


def stored_meta(reader: Any, task_id: str) -> object:
    """Return what the backend has for a task, whatever it is; None if it cannot be decoded."""
    try:
        return reader.get_task_meta(task_id, cache=False)
    except (SerializationError, RecursionError):
        return None


def result_of(meta: object) -> CeleryResult | None:
    """Return the result of a task; None if there is none."""
    state = meta.get("status") if isinstance(meta, dict) else None
    if not isinstance(meta, dict) or not isinstance(state, str) or len(state) > _MAX_TEXT:
        return _UNREADABLE
    if state == states.PENDING:
        return None
    stored = meta.get("result")
    return CeleryResult(
        state=state,
        text=_message(stored)[:_MAX_TEXT] if state in states.EXCEPTION_STATES else "",
        is_from_mailctl=_is_our_error(stored) or (isinstance(stored, dict) and REFERENCE_ARGUMENT in stored),
    )


def answer_of(meta: object) -> Any:
    """Return what a task has stored when it succeeded; None if it did not."""
    is_success = isinstance(meta, dict) and meta.get("status") == states.SUCCESS
    return meta.get("result") if isinstance(meta, dict) and is_success else None


def _message(stored: object) -> str:
    """Return what an exception says, as Celery or another program has stored it."""
    if isinstance(stored, dict):
        stored = stored.get("exc_message")
    elif isinstance(stored, BaseException):  # of a backend that pickles
        stored = stored.args
    if isinstance(stored, list | tuple):
        return ", ".join(str(part) for part in stored if isinstance(part, str | int | float))
    return str(stored) if isinstance(stored, str | int | float) else ""


def _is_our_error(stored: object) -> bool:
    name = stored.get("exc_type") if isinstance(stored, dict) else type(stored).__name__
    return isinstance(name, str) and name in _OUR_ERRORS


def _same(meta: object) -> object:
    return meta
