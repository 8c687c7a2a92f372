"""A worker of mailctl with one slot, whose patience with messages of other apps a test chooses.

Run as `python -m tests.foreign_worker` with the fields of the schedule as JSON.
"""

from __future__ import annotations

import json
import sys

from mailctl import runtime
from mailctl.settings import Settings
from mailctl.worker.foreign_keeper import Schedule
from mailctl.worker.start import run_worker

if __name__ == "__main__":
    fields = json.loads(sys.argv[1])
    runtime.use(Settings.load())
    schedule = Schedule(**{**fields, "delays": tuple(fields["delays"])})
    sys.exit(run_worker(runtime.current(), pool="solo", concurrency=1, foreign_schedule=schedule))
