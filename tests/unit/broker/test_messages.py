"""Messages in Redis are read as far as they can be parsed."""

from __future__ import annotations

from typing import Any

import pytest

from mailctl.broker.messages import (
    BATCH_TASK,
    is_unclaimed_queue,
    quoted_name,
    read_message,
    read_unacked,
    summarize_tasks,
    unclaimed_queue,
)
from tests.unit.broker.fakes import redis_message, unacked_message


def test_a_message_that_refers_to_the_log_names_its_email() -> None:
    """The id of the task is that of the email."""
    message = read_message(redis_message("a", kwargs={"email_id": "a"}), queue="celery")
    assert (message.task_id, message.email_ids, message.to, message.queue) == ("a", ("a",), None, "celery")
    assert message.is_for("a")
    assert not message.is_for("b")


def test_a_batch_names_all_its_emails() -> None:
    """Only mailctl publishes one."""
    message = read_message(redis_message("t", task=BATCH_TASK, args=[["a", "b"]]))
    assert (message.email_ids, message.is_from_mailctl, message.is_for("b")) == (("a", "b"), True, True)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ([{"email": "zoe@example.com"}], {}),
        ([], {"user_data": {"email": "zoe@example.com"}}),
        (["subject", [{"email": "zoe@example.com"}]], {}),
        ([], {"recipients": [{"email": "zoe@example.com"}, {"email": "other@example.com"}]}),
    ],
)
def test_the_first_recipient_is_found_in_the_arguments(args: list[Any], kwargs: dict[str, Any]) -> None:
    """By position and by name."""
    assert read_message(redis_message("a", args=args, kwargs=kwargs)).to == "zoe@example.com"


def test_the_kind_follows_from_the_task() -> None:
    """Tasks of other apps have none."""
    assert read_message(redis_message("a", task="send_welcome_email_task")).kind == "welcome"
    assert read_message(redis_message("a", task="shop.pay")).kind is None


@pytest.mark.parametrize(
    "raw",
    [
        b"{not json",
        b"[]",
        b"7",
        b'{"body": 3}',
        b'{"body": "!"}',
        b"[" * 100_000,
        b'{"x": "' + b"x" * 2_000_001 + b'"}',
    ],
)
def test_an_unreadable_message_has_neither_task_nor_id(raw: bytes) -> None:
    """It is a message nevertheless."""
    message = read_message(raw, queue="celery")
    assert (message.task_id, message.task, message.email_ids, message.to) == ("", "", (), None)
    assert read_unacked(raw).task_id == ""


def test_an_unacknowledged_message_names_its_queue() -> None:
    """By its routing key."""
    assert read_unacked(unacked_message("u", "reports")).queue == "reports"


def test_a_queue_has_a_queue_for_unclaimed_messages() -> None:
    """Its name has a suffix."""
    assert unclaimed_queue("celery") == "celery.unclaimed"
    assert (is_unclaimed_queue("celery.unclaimed"), is_unclaimed_queue("celery")) == (True, False)


def test_names_of_tasks_are_counted_and_limited() -> None:
    """The most frequent come first."""
    tasks = ["a.task", "b.task", "a.task", "", *(f"t{number}" for number in range(5))]
    assert summarize_tasks(tasks) == "9 for 'a.task' x2, 'b.task', no task, 't0', 't1', 3 more"


def test_a_name_from_another_program_is_quoted_and_shortened() -> None:
    """Its control characters are escaped."""
    assert quoted_name("a\x1b]0;x") == repr("a\x1b]0;x")
    assert len(quoted_name("x" * 1000)) == 102
    assert quoted_name(7) == "'7'"
