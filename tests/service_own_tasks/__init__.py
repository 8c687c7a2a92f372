"""A service with its own Celery app and its own email tasks, and what mailctl says about its emails."""
