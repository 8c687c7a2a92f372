"""What runs inside a Celery worker: the event loop of each process, and the relay."""
