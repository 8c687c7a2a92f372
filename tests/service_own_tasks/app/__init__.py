"""A service as many are: FastAPI, a Celery app of its own, own email tasks, and links with its own JWTs.

It knows nothing of mailctl, unless `SERVICE_TASKS=recorded` adds the line that records its tasks.
`SERVICE_TASKS=removed` leaves its tasks out, as in a service that adopted it.
"""
