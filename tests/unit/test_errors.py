"""Each error class has an exit code, and errors carry facts."""

from __future__ import annotations

import pytest

from mailctl import errors
from mailctl.errors import ExitCode, ExtraMissing, InvalidInput, MailctlError, UnknownName, suggest_name


def test_exit_codes_are_fixed() -> None:
    """Scripts rely on them."""
    assert {code.name: int(code) for code in ExitCode} == {
        "DONE": 0,
        "FAILED": 1,
        "USAGE": 2,
        "NOT_FOUND": 3,
        "REFUSED": 4,
        "UNAVAILABLE": 5,
        "UNCONFIRMED": 6,
        "PENDING": 8,
        "TRY_AGAIN": 75,
        "INTERRUPTED": 130,
    }


def test_every_exit_code_has_a_meaning() -> None:
    """In a sentence, which the help and the documents take from there."""
    assert all(code.meaning.endswith(".") for code in ExitCode)
    # Beside its number in a terminal of 80 columns.
    assert max(len(code.meaning) for code in ExitCode) <= 69


def test_an_unknown_name_is_answered_with_the_closest_or_with_all() -> None:
    """What a service defines may not be there; what is fixed is something else."""
    state = UnknownName("state", "Faild", ["failed", "held"])
    kind = UnknownName("kind", "nothing", [], is_service_defined=True)
    assert (str(state), state.fix) == ("'Faild' is not a state.", "Did you mean 'failed'?")
    assert (str(kind), kind.fix) == ("There is no kind 'nothing'.", "Use one of: none.")
    assert suggest_name("x", ["a", "b"], label="Queues") == "Queues: a, b."


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("InvalidInput", 2),
        ("ConfigurationError", 2),
        ("ExtraMissing", 2),
        ("NotFound", 3),
        ("LogMissing", 3),
        ("Refused", 4),
        ("IdempotencyConflict", 4),
        ("ServiceUnavailable", 5),
        ("BrokerUnavailable", 5),
        ("LogUnavailable", 5),
        ("UserDirectoryUnavailable", 5),
        ("RenderError", 1),
        ("EmailFailed", 1),
        ("ContentDeleted", 1),
        ("StillPending", 8),
        ("EmailUnconfirmed", 6),
        ("Unanswered", 130),
    ],
)
def test_each_class_has_its_exit_code(name: str, code: int) -> None:
    """In one table, so that a change is noticed."""
    assert getattr(errors, name).exit_code == code


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([], ExitCode.DONE),
        ([ExitCode.DONE, ExitCode.FAILED], ExitCode.FAILED),
        ([ExitCode.DONE, ExitCode.UNCONFIRMED], ExitCode.UNCONFIRMED),
        ([ExitCode.UNCONFIRMED, ExitCode.FAILED], ExitCode.FAILED),
        ([ExitCode.FAILED, ExitCode.NOT_FOUND], ExitCode.NOT_FOUND),
        ([ExitCode.NOT_FOUND, ExitCode.UNAVAILABLE, ExitCode.DONE], ExitCode.UNAVAILABLE),
    ],
)
def test_a_command_on_several_emails_ends_with_the_most_severe_code(
    codes: list[ExitCode], code: ExitCode
) -> None:
    """Whatever their order."""
    assert ExitCode.most_severe(codes) is ExitCode.most_severe(codes[::-1]) is code


def test_errors_carry_what_to_do() -> None:
    """Callers need not parse their text."""
    assert MailctlError("x.").fix == ""
    error = InvalidInput("--at", "has passed.", fix="Give a later one.")
    assert (error.message, error.field, error.reason, error.fix) == (
        "--at has passed.",
        "--at",
        "has passed.",
        "Give a later one.",
    )
    assert ".[web]" in ExtraMissing("FastAPI is missing.", extra="web").fix
