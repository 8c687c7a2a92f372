"""Queries and commands to the message broker, the result backend and the Celery workers of any app.

`inspector` is the entry point; it uses one adapter for each type of broker (`redis`, `amqp`, `memory`).
"""
