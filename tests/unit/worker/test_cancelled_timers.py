"""Cancelled timers do not stay in a worker's memory until they would have been due."""

from __future__ import annotations

from types import SimpleNamespace

from celery.utils.timer2 import Timer as ThreadTimer
from kombu.asynchronous.timer import Timer

from mailctl.worker.cancelled_timers import CancelledTimerStep, remove_cancelled

_HALF_AN_HOUR = 1800


def test_timers_of_tasks_that_have_ended_are_removed() -> None:
    timer = Timer()
    ended = [timer.call_after(_HALF_AN_HOUR, print) for _ in range(100)]
    running = [timer.call_after(_HALF_AN_HOUR - n, print) for n in range(10)]
    for entry in ended:
        entry.cancel()

    remove_cancelled(timer)

    assert len(timer) == len(running)
    assert [each.entry for each in sorted(timer._queue)] == running[::-1]


def test_a_timer_that_is_due_still_runs_after_others_were_removed() -> None:
    timer, calls = Timer(), list[str]()
    timer.call_after(0, calls.append, ("first",))
    timer.call_after(_HALF_AN_HOUR, calls.append, ("cancelled",)).cancel()
    timer.call_after(0, calls.append, ("second",))

    remove_cancelled(timer)
    for _ in range(2):
        _, entry = next(iter(timer))
        entry()

    assert calls == ["first", "second"]


def test_timers_are_removed_again_and_again_once_the_step_has_started() -> None:
    worker = SimpleNamespace(timer=Timer())
    step = CancelledTimerStep(worker)
    assert step.include_if(worker)

    step.start(worker)
    [scheduled] = worker.timer._queue
    worker.timer.call_after(_HALF_AN_HOUR, print).cancel()
    scheduled.entry()

    assert [each.entry for each in worker.timer._queue] == [scheduled.entry] * 2  # it is due again


def test_a_worker_without_an_event_loop_has_no_such_timers() -> None:
    worker = SimpleNamespace(timer=ThreadTimer())
    assert not CancelledTimerStep(worker).include_if(worker)
