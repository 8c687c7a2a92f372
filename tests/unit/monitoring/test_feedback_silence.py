"""Whether feedback is heard."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert

from mailctl.delivery_log.reports import FeedbackResult
from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.tables import emails
from mailctl.domain.states import State
from mailctl.monitoring.feedback_silence import SILENT_EMAILS, feedback_hops
from mailctl.monitoring.prometheus import render_metrics
from mailctl.runtime import Runtime
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    """The parts of a process with a bounce address."""
    found = Runtime(Settings(mailctl_home=tmp_path, mailctl_bounce_address="bounces@example.com"))
    yield found
    found.close()


def accept(runtime: Runtime, *, at: datetime) -> None:
    """Let a mail server accept as many emails as one should hear of."""
    row: dict[str, Any] = {
        "kind": "welcome",
        "queue": "celery",
        "attempts": 1,
        "to_address": "zoe@example.com",
        "state": State.SENT,
    }
    times = dict.fromkeys(("created_at", "updated_at", "due_at", "sent_at"), at)
    with writing(runtime.engine) as connection:
        rows = [row | times | {"id": f"{at}{n}"} for n in range(SILENT_EMAILS)]
        connection.execute(insert(emails), rows)


def test_silence_is_a_failure_only_where_many_emails_went_out(runtime: Runtime) -> None:
    """And long enough ago that their bounces would have come."""
    now = runtime.clock()
    [hop] = feedback_hops(runtime)
    assert (hop.ok, hop.detail) == (True, "never heard from")
    accept(runtime, at=now - timedelta(hours=1))
    [hop] = feedback_hops(runtime)
    assert hop.ok
    accept(runtime, at=now - timedelta(hours=30))
    [hop] = feedback_hops(runtime)
    assert not hop.ok
    assert hop.detail.startswith("never heard from, although 1000 or more emails were accepted")
    runtime.feedback_counts.add("dsn", FeedbackResult.IGNORED)
    [hop] = feedback_hops(runtime)
    assert hop.ok
    assert hop.detail.startswith("last heard from at ")
    assert 'mailctl_feedback_total{source="dsn",result="ignored"} 1' in render_metrics(
        runtime, since=timedelta(hours=1)
    )


def test_what_is_refused_breaks_no_silence(runtime: Runtime) -> None:
    """With a secret that was changed on one side alone, everything looks forged, and comes all the time."""
    accept(runtime, at=runtime.clock() - timedelta(hours=30))
    for result in (FeedbackResult.FORGED, FeedbackResult.STALE, FeedbackResult.UNMATCHED):
        runtime.feedback_counts.add("ses", result)
    # Who unsubscribes had the email, which says nothing of the way on which bounces come back.
    for result in (FeedbackResult.RECORDED, FeedbackResult.FORGED):
        runtime.feedback_counts.add("unsubscribe", result)
    [hop] = feedback_hops(runtime)
    assert not hop.ok
    assert hop.detail.endswith("; refused since then: ses (forged), ses (stale)")
    assert "MAILCTL_WEBHOOK_SECRETS" in hop.fix
    metrics = render_metrics(runtime, since=timedelta(hours=1))
    assert 'mailctl_feedback_last_heard_timestamp_seconds{source="ses"}' not in metrics
    runtime.feedback_counts.add("ses", FeedbackResult.RECORDED)
    [hop] = feedback_hops(runtime)
    assert hop.ok


def test_where_no_feedback_is_expected_nothing_is_said(tmp_path: Path) -> None:
    """Without a bounce address, and without any source that was ever heard."""
    runtime = Runtime(Settings(mailctl_home=tmp_path))
    assert list(feedback_hops(runtime)) == []
    runtime.close()
