"""The Celery worker: everything from the receipt of a message to the recorded outcome of its email.

The path of a message through the package:

1. `run` starts a Celery worker, and `bootsteps` adds a `relay` to it. The relay publishes `due_emails`,
   recovers `stuck_emails`, and stops a worker that is to `drain`.
2. `consumer_guards` keep the consumer alive whatever bytes arrive, and pass each message to
   `message_strategy`.
3. `message_validation` accepts or rejects a message for a task of mailctl. `foreign` holds messages of other
   apps for their own workers. `remote_control` validates control messages.
4. Celery executes the task with a `private_request`. The task uses the `process_state` of its pool process.
5. `delivery` claims the email, composes it, and sends it on the `event_loop`, unless the `circuit_breaker` is
   open.
6. `outcomes` records the result in the delivery log.

A canary takes the same path, and `canary_responder` answers it. When the worker starts, `shared_queues` warns
about other apps.
"""
