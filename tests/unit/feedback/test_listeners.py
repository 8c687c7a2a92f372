"""Functions of the service that hear of feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mailctl
from mailctl.delivery_log.reports import FeedbackChange, RecordedReports, Report
from mailctl.domain.models import State
from mailctl.feedback import listeners

if TYPE_CHECKING:
    import pytest


def _result() -> RecordedReports:
    known = {"source": "dsn", "is_proven": True, "summary": "x", "is_hard": True}
    reports = [Report(kind=kind, source_id=kind, **known) for kind in ("bounced", "delayed")]  # type: ignore[arg-type]
    change = FeedbackChange(email_id="e1", state=State.BOUNCED, report=reports[0])
    return RecordedReports(new=[("e1", report) for report in reports], changes=[change])


def test_a_function_hears_of_each_new_report(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With the state that it has changed; one that fails keeps nobody else from hearing."""
    monkeypatch.setattr(listeners, "_listeners", [])
    heard: list[mailctl.FeedbackEvent] = []

    @mailctl.on_feedback
    def fail(event: mailctl.FeedbackEvent) -> None:
        raise RuntimeError("zoe@example.com")

    assert mailctl.on_feedback(heard.append) == heard.append
    mailctl.on_feedback(fail)
    listeners.tell_listeners(_result())
    assert [(each.kind, each.state, each.is_hard) for each in heard] == [
        ("bounced", "bounced", True),
        ("delayed", None, True),
    ]
    assert len(caplog.records) == 2
    assert "zoe@example.com" not in caplog.text
