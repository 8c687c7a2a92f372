"""Events as they happen."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from mailctl.delivery_log.queries.event_feed import EventFilter
from mailctl.domain.catalog import WELCOME
from mailctl.domain.models import Content, User
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.monitoring.event_feed import follow_events, list_events
from mailctl.runtime import Runtime
from mailctl.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_each_event_comes_once(tmp_path: Path) -> None:
    """Those that were there, and then the new ones."""
    runtime = Runtime(Settings(mailctl_home=tmp_path))

    def record(count: int) -> list[str]:
        contents = [Content(user=User(email=f"u{n}@example.com")) for n in range(count)]
        return list(Enqueuer(runtime).record(EmailRequest(kind=WELCOME), contents).ids)

    began = runtime.clock()
    first = record(3)
    following = follow_events(runtime, EventFilter(), since=began)
    assert [entry.email_id for entry in islice(following, 3)] == first
    second = record(2)
    assert [entry.email_id for entry in islice(following, 2)] == second
    listed = [entry.email_id for entry in list_events(runtime, EventFilter(), since=began)]
    assert listed == first + second
    runtime.close()
