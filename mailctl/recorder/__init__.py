"""The recorder: records the emails of a service's own Celery tasks, and runs each task once."""
