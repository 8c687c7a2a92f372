"""The schedule says how long a message waits, and when it is moved aside."""

from __future__ import annotations

from mailctl.worker.foreign_messages.schedule import RequeueSchedule


def test_each_requeue_has_its_delay_and_the_next_one_moves_the_message_aside() -> None:
    """None stands for the move."""
    schedule = RequeueSchedule(delays=(1.0, 10.0))
    assert [schedule.delay_seconds(count) for count in range(4)] == [1.0, 10.0, None, None]
