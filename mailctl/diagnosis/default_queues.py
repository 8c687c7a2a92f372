"""The queues of email that a worker consumes by default."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailctl.runtime import Runtime


def default_queues(runtime: Runtime) -> tuple[str, ...]:
    """Return the queues of the service's app, if it has one, or else CELERY_QUEUE_DEFAULT."""
    if not runtime.settings.mailctl_app:
        return (runtime.settings.celery_queue_default,)
    from mailctl.celery_app import consumed_queues  # Celery takes long to import

    return consumed_queues(runtime.app)
