"""Messages of other apps on a queue that mailctl consumes: the worker keeps them for their own workers.

`step` takes each of them from Celery, which would delete it, and gives it to `requeuer`. That puts it back on
its queue after a delay, and after a few rounds moves it to the queue for unclaimed messages.
"""
