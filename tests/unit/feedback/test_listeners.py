"""Functions of the service that hear of feedback."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import mailctl
from mailctl.delivery_log.reports import FeedbackChange, RecordedReports, Report
from mailctl.domain.states import State
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


def test_a_function_that_hangs_stops_nobody_who_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is anything lost: it hears of everything in order once it goes on."""
    monkeypatch.setattr(listeners, "_listeners", [])
    released, heard = threading.Event(), list[str]()

    @mailctl.on_feedback
    def hang(event: mailctl.FeedbackEvent) -> None:
        released.wait()
        heard.append(event.kind)

    recorder = threading.Thread(target=lambda: [listeners.tell_listeners(_result()) for _ in range(2)])
    recorder.start()
    recorder.join(60)
    assert (recorder.is_alive(), heard) == (False, [])
    released.set()
    listeners._calls.wait(60)
    assert heard == ["bounced", "delayed"] * 2


def test_a_bound_keeps_events_from_filling_the_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A function that does not return misses what is beyond it, and the log says so."""
    monkeypatch.setattr(listeners, "_listeners", [])
    released, started, heard = threading.Event(), threading.Event(), list[str]()

    @mailctl.on_feedback
    def hang(event: mailctl.FeedbackEvent) -> None:
        started.set()
        released.wait()
        heard.append(event.email_id)

    events = [listeners._event(str(number), _result().new[0][1], state=None) for number in range(5)]
    calls = listeners._Calls(patience_seconds=0.0, max_waiting=2)
    calls.add(events[:1])
    assert started.wait(60)
    calls.add(events[1:])
    released.set()
    calls.wait(60)
    assert heard == ["0", "1", "2"]
    assert "too slow: 2 missed" in caplog.text
