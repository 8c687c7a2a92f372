"""The Celery app of the service."""

from __future__ import annotations

from celery import Celery

from tests.service_own_tasks.app.config import settings

celery_app = Celery(
    "service",
    broker=settings.broker_url,
    backend=settings.result_backend,
    include=[] if settings.SERVICE_TASKS == "removed" else ["tests.service_own_tasks.app.tasks"],
)
celery_app.conf.update(
    task_serializer="json",
    accept_content=["json"],
    result_serializer="json",
    timezone="UTC",
    enable_utc=True,
    task_track_started=True,
    task_time_limit=30 * 60,
    result_expires=settings.CELERY_RESULT_EXPIRES,
    task_ignore_result=settings.CELERY_TASK_IGNORE_RESULT,
    broker_connection_retry_on_startup=True,
)
if settings.SERVICE_TASKS == "recorded":
    import mailctl

    mailctl.record_tasks(celery_app)
