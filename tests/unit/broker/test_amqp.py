"""A copy of an AMQP message is accepted by the broker, and leads to one queue only."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import amqp
import pytest
from amqp.exceptions import NotFound, PreconditionFailed

from mailctl.broker.amqp import AmqpAdapter, copy_of, declare_unclaimed
from mailctl.broker.counting import count_messages

if TYPE_CHECKING:
    from collections.abc import Iterator


class Connection:
    """A connection to a broker with some queues, whose passive declaration may fail."""

    channel_errors = (NotFound, PreconditionFailed)

    def __init__(self, counts: dict[str, int], *, error: Exception | None = None) -> None:
        self.declared: list[str] = []
        self._counts = counts
        self._error = error

    @contextmanager
    def channel(self) -> Iterator[Any]:
        yield SimpleNamespace(queue_declare=self._declare)

    def _declare(self, *, queue: str, passive: bool = False, **_: object) -> Any:
        if not passive:
            self.declared.append(queue)
        elif self._error:
            raise self._error
        elif queue not in self._counts:
            raise NotFound("no queue")
        return SimpleNamespace(message_count=self._counts.get(queue, 0))


def test_a_copy_has_the_body_and_the_properties_of_its_message() -> None:
    """Without the name of the user, which the broker accepts only from that user."""
    message = amqp.Message(b"body", content_type="text/plain", user_id="somebody", priority=3)
    copy = copy_of(message)
    assert copy.body == b"body"
    assert copy.properties == {"content_type": "text/plain", "priority": 3}


def test_headers_that_would_route_a_copy_to_other_queues_are_renamed() -> None:
    """Those that a quorum queue adds are removed."""
    headers = {"id": "a", "CC": ["b"], "BCC": ["c"], "x-delivery-count": 3, "x-acquired-count": 1}
    copy = copy_of(amqp.Message(b"", application_headers=headers))
    assert copy.properties["application_headers"] == {"id": "a", "mailctl_cc": ["b"], "mailctl_bcc": ["c"]}


def test_a_missing_queue_has_no_messages() -> None:
    """Other errors pass through."""
    assert count_messages(Connection({"celery": 3}), "celery") == 3
    assert count_messages(Connection({}), "celery") == 0
    with pytest.raises(PreconditionFailed):
        count_messages(Connection({}, error=PreconditionFailed("locked")), "celery")


def test_messages_are_counted_but_not_shown() -> None:
    """An adapter for AMQP cannot complete a search."""
    adapter = AmqpAdapter(Connection({"celery": 3, "celery.unclaimed": 2}))
    [found] = adapter.read_queues(["celery"]).values()
    assert (found.ready, found.unclaimed, found.messages, found.unacked) == (3, 2, None, None)
    assert not adapter.find_message("a", "celery").is_complete


def test_the_queue_for_unclaimed_messages_is_declared_once() -> None:
    """An existing one may be of another type."""
    missing, existing = Connection({}), Connection({"celery.unclaimed": 0})
    declare_unclaimed(missing, "celery")
    declare_unclaimed(existing, "celery")
    assert (missing.declared, existing.declared) == (["celery.unclaimed"], [])
