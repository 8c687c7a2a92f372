"""A canary is answered with a report of each step."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from mailctl.domain.states import State
from mailctl.errors import LogUnavailable
from mailctl.worker.canary_responder import respond_to_canary, respond_to_logged_canary
from tests.unit.worker.fakes import Calls, parts


def runtime(*, plain: bytes | None = b"zoe@example.com", log_error: Exception | None = None) -> Any:
    """Return a runtime that captures emails."""
    return parts(
        workers=Calls(list_alive=log_error),
        settings=SimpleNamespace(email_enabled=False, email_from_address="noreply@example.com"),
        keyring=Calls(open_text=plain),
        claims=Calls(),
        attempt_results=Calls(finish=True),
    )


def test_each_step_is_reported() -> None:
    """Captured emails need no mail server."""
    steps = respond_to_canary(runtime(), "c", "encrypted")
    assert [(step["name"], step["ok"]) for step in steps] == [("worker-log", True), ("smtp", True)]
    assert "captured" in steps[1]["detail"]


def test_without_a_recipient_the_sender_receives_it() -> None:
    """Nothing has to be decrypted."""
    made = runtime()
    steps = respond_to_canary(made, "c", None)
    assert steps
    assert all(step["ok"] for step in steps)
    assert made.keyring.calls == []


def test_a_failure_is_the_last_step() -> None:
    """A log that does not answer, or another key."""
    outage = runtime(log_error=LogUnavailable("the log does not answer."))
    for made, detail in (
        (outage, "does not answer"),
        (runtime(plain=None), "SECRET_KEY"),
        (runtime(plain=b"x"), ""),
    ):
        [step] = respond_to_canary(made, "c", "encrypted")
        assert (step["name"], step["ok"]) == ("worker-log", False)
        assert detail in step["detail"]


def test_a_logged_canary_records_its_report() -> None:
    """It counts as sent if each step succeeded."""
    made = runtime()
    claim = SimpleNamespace(content=SimpleNamespace(user=SimpleNamespace(email="zoe@example.com")))
    made.claims.answers["claim"] = SimpleNamespace(claims=[claim])
    assert respond_to_logged_canary(made, "a", worker="w@host") == "sent"
    [(_, (claimed, state), kwargs)] = made.attempt_results.calls
    assert (claimed, state, kwargs["reason"]) == (claim, State.SENT, None)
    assert [step["name"] for step in kwargs["canary_report"]] == ["smtp"]


def test_a_canary_that_another_worker_has_claimed_is_left_alone() -> None:
    """There is nothing to do."""
    made = runtime()
    made.claims.answers["claim"] = SimpleNamespace(claims=[])
    assert respond_to_logged_canary(made, "a", worker="w@host") == "nothing to do"
    assert made.attempt_results.calls == []
