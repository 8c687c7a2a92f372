"""Questions and commands to the message broker, the result backend and the Celery workers of any app.

`inspector` is the door: it asks through one adapter for each type of broker (`redis`, `amqp`, `memory`).
"""
