"""The recorder: records the emails of a service's own Celery tasks, and runs each task once."""

from mailctl.recorder.hooks import record_tasks

__all__ = ["record_tasks"]
