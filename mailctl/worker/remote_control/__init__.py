"""Celery's remote control: each message is validated before a worker acts on it."""
