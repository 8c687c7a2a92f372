"""Events as they happen."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.queries.event_feed import EventFilter
from mailctl.domain.catalog import WELCOME
from mailctl.domain.models import Content, User
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.errors import NotFound
from mailctl.monitoring.event_feed import LATE_SECONDS, LateEvents, follow_events, list_events
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


def test_a_misspelt_campaign_is_an_error(tmp_path: Path) -> None:
    """Instead of a list that stays empty for ever."""
    runtime, wanted = Runtime(Settings(mailctl_home=tmp_path)), EventFilter(campaign="sprign")
    for following in (
        follow_events(runtime, wanted, since=None),
        list_events(runtime, wanted, since=runtime.clock()),
    ):
        with pytest.raises(NotFound, match="sprign"):
            next(following)
    runtime.close()


def test_an_event_may_appear_late() -> None:
    """Also while hundreds of others come after it; what was seen does not come twice."""
    window = LateEvents(0)
    assert all(window.add(seq) for seq in range(1, 2000) if seq != 700)
    window.advance(1999, now=0.0)
    window.advance(5000, now=LATE_SECONDS / 2)
    assert window.begin == 0
    assert window.add(700)
    assert not window.add(701)


def test_what_was_there_for_a_while_is_not_read_again() -> None:
    """Whether it matched or not: otherwise a filter that rarely matches reads more each time."""
    window = LateEvents(0)
    window.advance(1999, now=0.0)
    window.advance(5000, now=LATE_SECONDS)
    assert window.begin == 1999
