"""The Celery worker: everything from the receipt of a message to the recorded outcome of its email.

The way of a message through the package:

1. `run` starts a Celery worker; `bootsteps` adds a `relay`, which publishes `due_emails`, recovers
`stuck_emails`, and
   for a draining worker watches the `drain`.
2. `consumer_guards` keep the consumer alive whatever bytes arrive, and pass each message to
`message_strategy`. 3. `message_validation` accepts or refuses a message for a task of mailctl. `foreign`
holds messages of other apps for
   their own workers. `remote_control` does the same checks for control messages.
4. Celery executes the task with a `private_request`, and the task calls `process_state`: the event loop, the
sender
   and the delivery of the pool process.
5. `delivery` claims the email, composes and sends it on the `event_loop`, unless the `circuit_breaker` is
open. 6. `outcomes` records the result in the delivery log.

A canary takes the same way, and `canary_responder` answers it. `shared_queues` warns of other apps at the
start.
"""
