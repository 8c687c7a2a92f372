"""Ctrl-C: recorded between transactions, and the normal end of a watch."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from mailctl.cli.terminal.interrupts import Interrupt, deferred_interrupts, uninterrupted_drawing, watching


def test_the_first_signal_is_recorded_and_the_second_raises() -> None:
    """An operator who presses Ctrl-C twice does not want to wait."""
    interrupt = Interrupt()
    interrupt.handle(signal.SIGINT, None)
    assert interrupt.is_requested
    with pytest.raises(KeyboardInterrupt):
        interrupt.handle(signal.SIGINT, None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_deferred_and_their_handlers_restored(number: signal.Signals) -> None:
    """Outside, they do what they did before."""
    before = signal.getsignal(number)
    with deferred_interrupts() as interrupt:
        signal.raise_signal(number)
        assert interrupt.is_requested
    assert signal.getsignal(number) is before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """As of a command that a shell runs in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with deferred_interrupts() as interrupt:
            signal.raise_signal(signal.SIGINT)
            assert not interrupt.is_requested
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_cannot_take_signals() -> None:
    """Commands run there, too, in tests and servers."""
    seen: list[bool] = []

    def run() -> None:
        with deferred_interrupts() as interrupt:
            seen.append(interrupt.is_requested)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [False]


def test_ctrl_c_ends_a_watch_without_an_error() -> None:
    """Other exceptions pass."""
    with watching():
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="other"), watching():
        raise ValueError("other")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_being_drawn_is_drawn_to_its_end(number: signal.Signals) -> None:
    """Then the signal has its usual effect."""
    drawn = []

    def draw() -> None:
        with uninterrupted_drawing():
            signal.raise_signal(number)
            drawn.append("the rest")

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            draw()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert drawn == ["the rest"]


#: Ctrl-C that arrives while SQLAlchemy resets a connection, which logs it, and while an object is destroyed.
ARRIVALS = {
    "a connection is reset": """
from sqlalchemy import create_engine, event
engine = create_engine("sqlite://")
event.listen(engine, "reset", lambda *_: signal.raise_signal(signal.SIGINT))
engine.connect().close()
""",
    "an object is destroyed": """
class Destroyed:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
Destroyed()
""",
}


@pytest.mark.parametrize("arrival", ARRIVALS.values(), ids=ARRIVALS)
def test_an_interrupt_is_neither_printed_nor_lost_wherever_it_arrives(arrival: str) -> None:
    """Libraries and the interpreter print a traceback of it, and the interpreter goes on."""
    program = f"""
import signal, time
from mailctl.cli.terminal.interrupts import install_interrupt_hooks, watching
install_interrupt_hooks()
with watching():
    {arrival.strip().replace(chr(10), chr(10) + "    ")}
    time.sleep(60)
    print("lost")
print("ended")
"""
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout, process.stderr) == (0, "ended\n", "")


def test_an_interrupt_while_mailctl_is_imported_prints_no_traceback() -> None:
    """The shell sees a process that Ctrl-C has ended."""
    program = """
import runpy, signal, sys
class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == "mailctl.cli.main":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
runpy.run_module("mailctl", run_name="__main__")
"""
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout, process.stderr) == (-signal.SIGINT, "", "")
