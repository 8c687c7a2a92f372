"""A worker of mailctl with a requeue schedule that a test chooses.

Run as `python -m tests.foreign_worker` with the fields of the schedule as JSON, and with the number of its
pool processes where it is to have some.
"""

from __future__ import annotations

import json
import sys

from mailctl import runtime
from mailctl.settings import Settings
from mailctl.worker.foreign_messages.schedule import RequeueSchedule
from mailctl.worker.run import run_worker

if __name__ == "__main__":
    fields = json.loads(sys.argv[1])
    runtime.configure(Settings.load())
    schedule = RequeueSchedule(**{**fields, "delays": tuple(fields["delays"])})
    pool, concurrency = ("prefork", int(sys.argv[2])) if sys.argv[2:] else ("solo", 1)
    sys.exit(run_worker(runtime.current(), pool=pool, concurrency=concurrency, foreign_schedule=schedule))
