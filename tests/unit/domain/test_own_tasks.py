"""What a result of the service's own task tells: failures are failures, and nothing else is a success."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mailctl.domain.models import CeleryResult
from mailctl.domain.own_tasks import outcome_of_error, outcome_of_result, outcome_of_value
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        False,
        {"success": False},
        {"ok": False, "id": 7},
        {"sent": False},
        {"sent": 0},
        {"status": "failed"},
        {"status": " ERROR "},
        {"status": 550},
        {"status": "sent", "error": "connection refused"},
        {"errors": ["x"]},
        {"success": True, "error": {"code": 1}},
    ],
)
def test_a_value_that_says_failure_is_a_failure(value: Any) -> None:
    """However the service says it."""
    outcome = outcome_of_value(value, task="t")
    assert (outcome.state, outcome.reason.code) == (State.FAILED, ReasonCode.OWN_TASK_FAILED)
    assert not outcome.may_have_been_sent


@pytest.mark.parametrize(
    "value",
    [
        True,
        None,
        0,
        1,
        250,
        "",
        "sent",
        "delivered",
        "error",
        [],
        [False, "no"],
        {},
        {"success": True},
        {"ok": 1},
        {"status": "sent"},
        {"status": 200, "error": None, "errors": []},
        {"error": ""},
        {"message": "failed"},
    ],
)
def test_no_other_value_is_a_success(value: Any) -> None:
    """Also a value that calls itself one: the mail server has not said so."""
    outcome = outcome_of_value(value, task="t")
    assert (outcome.state, outcome.reason.code) == (State.UNCONFIRMED, ReasonCode.OWN_TASK_UNCONFIRMED)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (False, "it returned False"),
        ({"success": False, "error": "no route"}, "success is False: no route"),
        ({"status": "failed", "message": "550 no"}, "status is 'failed': 550 no"),
        ({"error": "redis://:hunter2@cache/0 is down"}, "redis://:***@cache/0 is down"),
        ({"error": "two\nlines"}, "two\\nlines"),
    ],
)
def test_a_failure_is_told_in_one_line_without_credentials(value: Any, said: str) -> None:
    """The service's own words follow."""
    assert said in outcome_of_value(value, task="t").reason.text


def test_texts_that_may_be_secret_are_not_repeated() -> None:
    """A returned text may be a token."""
    assert "tok-en" not in outcome_of_value("tok-en", task="t").reason.text
    assert "tok-en" not in outcome_of_value({"token": "tok-en"}, task="t").reason.text


@pytest.mark.parametrize(
    ("state", "outcome_state"),
    [
        ("SUCCESS", State.UNCONFIRMED),
        ("FAILURE", State.FAILED),
        ("REVOKED", State.FAILED),
        ("PENDING", None),
        ("RECEIVED", None),
        ("STARTED", None),
        ("RETRY", None),
        ("UNREADABLE", None),
        ("PROGRESS", None),
    ],
)
def test_only_a_finished_task_tells_anything(state: str, outcome_state: State | None) -> None:
    """Its time is that of the result."""
    outcome = outcome_of_result(CeleryResult(state=state, text="", finished_at=NOON), task="t")
    assert (outcome and outcome.state) == outcome_state
    assert outcome is None or outcome.finished_at == NOON


@pytest.mark.parametrize(
    ("error_type", "may_have_been_sent"),
    [("SMTPRecipientsRefused", False), ("", False), ("TimeLimitExceeded", True), ("WorkerLostError", True)],
)
def test_an_interrupted_task_may_have_sent_it(error_type: str, may_have_been_sent: bool) -> None:
    """Another exception is a failure."""
    outcome = outcome_of_error(error_type, "no")
    assert (outcome.state, outcome.may_have_been_sent) == (State.FAILED, may_have_been_sent)
    assert outcome.reason.text.endswith(": no")


@pytest.mark.parametrize("is_terminated", [True, False])
def test_only_a_terminated_task_has_run(is_terminated: bool) -> None:
    """A task that was revoked before it ran has sent nothing."""
    revoked = CeleryResult(state="REVOKED", text="so it was", is_terminated=is_terminated)
    outcome = outcome_of_result(revoked, task="t")
    assert outcome is not None
    assert outcome.may_have_been_sent is is_terminated


@pytest.mark.parametrize("state", [State.SENT, State.CAPTURED, State.UNCONFIRMED, State.FAILED])
def test_the_service_may_translate_its_results(state: State) -> None:
    """Its function gets the task and the value, and its answer counts more than the reading of mailctl."""
    asked: list[tuple[str, Any]] = []

    def translate(task: str, value: Any) -> str:
        asked.append((task, value))
        return str(state)

    outcome = outcome_of_value({"id": "x"}, task="send_welcome_email_task", translate=translate)
    assert (outcome.state, outcome.translator_problem) == (state, "")
    assert asked == [("send_welcome_email_task", {"id": "x"})]


def test_a_translator_may_leave_a_value_to_mailctl() -> None:
    """It returns None."""
    assert outcome_of_value(False, task="t", translate=lambda *_: None).state is State.FAILED


class Incomparable:
    """An answer such as an array or a column: a comparison with it raises."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise ValueError("ambiguous")


@pytest.mark.parametrize(
    "answer", ["delivered", "held", 7, True, ZeroDivisionError("no"), SystemExit(3), Incomparable()]
)
def test_an_error_of_the_translator_is_neither_success_nor_failure(answer: Any) -> None:
    """It is reported, and the email is unconfirmed."""

    def translate(_task: str, _value: Any) -> Any:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    outcome = outcome_of_value(False, task="t", translate=translate)
    assert outcome.state is State.UNCONFIRMED
    assert "MAILCTL_RESULT_OUTCOME" in outcome.translator_problem
    assert outcome.translator_problem in outcome.reason.text
