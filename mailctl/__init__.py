"""mailctl: operate a web service's Celery email. Send, work off, find, explain, act."""
