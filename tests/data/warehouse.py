"""Another app on the same broker: a plain Celery app that has never heard of mailctl."""

import json
import os
from pathlib import Path

from celery import Celery
from celery.worker.control import control_command

app = Celery("warehouse", broker=os.environ["WAREHOUSE_BROKER"])
app.conf.task_default_queue_type = os.environ.get("WAREHOUSE_QUEUE_TYPE", "classic")
if app.conf.broker_url.startswith("redis"):
    # What a worker that was killed had not acknowledged comes back soon.
    app.conf.broker_transport_options = {
        "visibility_timeout": 1,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    }
DONE = Path("done.jsonl")


@app.task(name="warehouse.ship", bind=True)
def ship(self, order, note):  # type: ignore[no-untyped-def]
    with DONE.open("a") as stream:
        info = self.request.delivery_info
        done = {
            "id": self.request.id,
            "order": order,
            "note": note,
            "carrier": self.request.carrier,
            "way": [info["exchange"], info["routing_key"]],
        }
        stream.write(json.dumps(done) + "\n")


@control_command(args=[("name", str)], signature="<name>")
def warehouse_greet(state, name):  # type: ignore[no-untyped-def]
    return f"hello {name}"
