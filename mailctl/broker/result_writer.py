"""Storing the Celery results of many emails: on Redis in one round trip."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = logging.getLogger("mailctl.tasks")
#: The id of a task, its state, and its result or exception.
Result = tuple[str, str, object]


def store_results(backend: Any, results: Sequence[Result]) -> None:
    """Store results as Celery does, for programs that ask it for them; if it cannot, that is logged.

    Args:
        backend: the result backend of an app.
        results: the results; of one task at most one.
    """
    try:
        _store(backend, results)
    except Exception as error:
        _log.warning("%d Celery results could not be stored: %s", len(results), type(error).__name__)


def _store(backend: Any, results: Sequence[Result]) -> None:
    if not _is_redis(backend):
        for task_id, state, result in results:
            backend.store_result(task_id, result, state)
        return
    values = {backend.get_key_for_task(each[0]): _encode(backend, *each) for each in results}

    def write() -> None:
        with backend.client.pipeline(transaction=False) as pipeline:
            for key, value in values.items():
                pipeline.set(key, value, ex=backend.expires or None)
                pipeline.publish(key, value)
            pipeline.execute()

    backend.ensure(write, ())


def _is_redis(backend: Any) -> bool:
    """Whether a backend is Celery's for Redis, without importing the driver for others."""
    return any(each.__module__ == "celery.backends.redis" for each in type(backend).__mro__)


def _encode(backend: Any, task_id: str, state: str, result: object) -> Any:
    encoded = backend.encode_result(result, state)
    meta = backend._get_result_meta(result=encoded, state=state, traceback=None, request=None)
    return backend.encode({**meta, "task_id": task_id})
