"""A process forks only while none of its threads uses the broker."""

from __future__ import annotations

import subprocess
import sys

#: A thread is inside when the main thread forks; the child says whether it had left by then.
_SCRIPT = """
import os, threading
from mailctl.process.fork_safety import no_fork

entered, is_forking, left = threading.Event(), threading.Event(), []

def use_broker():
    with no_fork():
        entered.set()
        is_forking.wait()
        left.append(True)

os.register_at_fork(before=is_forking.set)
thread = threading.Thread(target=use_broker)
thread.start()
entered.wait()
child = os.fork()
if child == 0:
    with no_fork():
        os._exit(0 if left else 1)
_, status = os.waitpid(child, 0)
thread.join()
with no_fork():
    print("in the child:", "left" if status == 0 else "inside")
"""


def test_a_fork_waits_for_threads_that_use_the_broker() -> None:
    """Their locks would stay locked in the child."""
    # Forking beside a thread is what a newer Python warns of, and what Celery does.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "in the child: left"
