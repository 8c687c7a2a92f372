"""Sets the clock of a process, and of what it forks, to what a file says: seconds to add to the real time."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import time_machine

_FILE = Path(os.environ["TEST_CLOCK_FILE"])


def _follow() -> None:
    offset, traveller = 0.0, None
    while True:
        wanted = float(_FILE.read_text() or 0)
        if wanted != offset:
            if traveller is not None:
                traveller.stop()
            traveller = time_machine.travel(time.time() + wanted, tick=True)
            traveller.start()
            offset = wanted
        time.sleep(0.1)


def _begin() -> None:
    threading.Thread(target=_follow, name="test-clock", daemon=True).start()


_begin()
os.register_at_fork(after_in_child=_begin)
