"""Why the delivery log does not have an id: decisions from evidence, without asking anybody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailctl.broker.messages import CeleryMessage, MessagePosition, MessageSearchResult
from mailctl.diagnosis.models import Cause, Certainty, UnknownId
from mailctl.diagnosis.unknown_id import diagnose_unknown
from mailctl.domain.models import CeleryResult
from tests.unit.diagnosis.samples import MESSAGE

UNKNOWN = UnknownId(task_id="e1", log="sqlite:///here", is_log_empty=False, relative_home=Path(".mailctl"))
FOREIGN = replace(MESSAGE, is_from_mailctl=False)


def first(**more: Any) -> Cause:
    """Return the first cause."""
    return diagnose_unknown(replace(UNKNOWN, **more))[0]


def found(message: CeleryMessage, *, ahead: int | None) -> MessageSearchResult:
    """Return the result of a search that found a message; None ahead means that a worker holds it."""
    position = MessagePosition(queue=message.queue, ahead=ahead, message=message)
    return MessageSearchResult(position=position, is_complete=True)


def test_a_log_nearby_that_has_it_settles_the_matter() -> None:
    """The next step reads that log."""
    cause = first(other_homes=(Path("/srv/shop/.mailctl"),))
    assert (cause.name, cause.certainty) == ("log_elsewhere", Certainty.CERTAIN)
    assert str(cause.next_step) == "MAILCTL_HOME=/srv/shop/.mailctl mailctl why e1"


@pytest.mark.parametrize(
    ("given", "command"),
    [("bob", "mailctl list --to bob"), ("3f2a", "mailctl list"), ("<a@b.example>", "mailctl list")],
)
def test_a_name_may_be_a_part_of_an_address(given: str, command: str) -> None:
    """An id or a Message-ID is none."""
    assert str(first(task_id=given).next_step) == command


def test_our_own_message_was_recorded_in_another_log() -> None:
    """The sentence says where the message is."""
    assert first(search=found(MESSAGE, ahead=0)).sentence == (
        "mailctl recorded it in another delivery log, not in sqlite:///here; its message is in queue 'celery'"
    )
    assert first(search=found(MESSAGE, ahead=None)).sentence.endswith("; a worker holds its message")


def test_a_message_of_another_program_is_in_no_log() -> None:
    """The sentence says how many messages are ahead of it."""
    cause = first(search=found(FOREIGN, ahead=4))
    assert cause.name == "another_program"
    assert cause.sentence.endswith("; 4 messages ahead of it in queue 'celery'")


def test_a_queue_of_another_program_is_quoted_for_the_shell() -> None:
    """Its name may be one that a shell would act on, or that looks like an option."""
    for name, shown in (("celery;touch${IFS}x", "'celery;touch${IFS}x'"), ("--all", "-- --all")):
        search = found(replace(FOREIGN, queue=name), ahead=4)
        assert str(first(search=search).next_step) == f"mailctl queue peek {shown}"


def test_a_result_tells_whose_task_it_was() -> None:
    """By what was stored."""
    result = CeleryResult(state="SUCCESS", text="", is_from_mailctl=True)
    assert first(result=result).name == "log_elsewhere"
    assert first(result=replace(result, is_from_mailctl=False)).name == "another_program"
    causes = diagnose_unknown(replace(UNKNOWN, result=result))
    assert "never_existed" not in [cause.name for cause in causes]


def test_an_empty_log_is_likely_the_wrong_one() -> None:
    """A full one less so; each cause is named once."""
    causes = diagnose_unknown(replace(UNKNOWN, is_log_empty=True))
    assert [cause.name for cause in causes] == ["log_elsewhere", "never_existed"]
    assert causes[0].certainty is Certainty.LIKELY
    assert first().certainty is Certainty.POSSIBLE


def test_a_broker_that_cannot_be_asked_is_a_possible_cause() -> None:
    """It might have had the message or the result."""
    names = [cause.name for cause in diagnose_unknown(replace(UNKNOWN, broker_error="It is down."))]
    assert names == ["never_existed", "log_elsewhere", "broker_down"]


def test_an_address_is_no_id() -> None:
    """The log has none to it, so the next step looks for similar ones, and the sentence speaks of no id."""
    cause = first(task_id="zoe@example.com")
    assert str(cause.next_step) == "mailctl list --to @example.com"
    assert cause.sentence.startswith("no email to this address is in the delivery log")
    assert str(first().next_step) == "mailctl list"


def test_a_message_id_is_no_address() -> None:
    """It has the form of one, but in angle brackets."""
    cause = first(task_id="<a1@example.com>")
    assert str(cause.next_step) == "mailctl list"
    assert cause.sentence.startswith("no email has this Message-ID:")


OWN = frozenset({"send_welcome_email_task", "shop.mail"})
RETURNED_TRUE = CeleryResult(state="SUCCESS", text="", value=True)


class TestTasksThatNothingRecords:
    """The service's own code publishes for its own tasks, and no recorder is set up."""

    @pytest.mark.parametrize(
        ("result", "said"),
        [
            (RETURNED_TRUE, "returned True, which does not say whether a mail server accepted it"),
            (replace(RETURNED_TRUE, value=False), "reported a failure: it returned False"),
            (CeleryResult(state="FAILURE", text="", error_type="OSError"), "failed with OSError"),
            (CeleryResult(state="STARTED", text=""), "Celery reports STARTED"),
        ],
    )
    def test_the_result_says_what_it_says(self, result: CeleryResult, said: str) -> None:
        """Celery knows the id, so it is not mistyped; and how to record is said, too."""
        causes = diagnose_unknown(replace(UNKNOWN, unrecorded_tasks=OWN, result=result))
        assert (causes[0].name, causes[0].certainty) == ("unrecorded_task", Certainty.LIKELY)
        assert said in causes[0].sentence
        assert "record_tasks(app)" in causes[0].sentence
        assert "never_existed" not in [cause.name for cause in causes]

    def test_a_task_whose_name_is_stored_is_named(self) -> None:
        """With `result_extended`; another task is another program's."""
        named = first(unrecorded_tasks=OWN, result=replace(RETURNED_TRUE, task="shop.mail"))
        assert "its task shop.mail" in named.sentence
        other = first(unrecorded_tasks=OWN, result=replace(RETURNED_TRUE, task="shop.pay"))
        assert other.name == "another_program"

    def test_a_waiting_message_is_the_service_s(self) -> None:
        """It will be recorded by nobody."""
        message = replace(FOREIGN, task="shop.mail")
        assert first(unrecorded_tasks=OWN, search=found(message, ahead=4)).name == "unrecorded_task"
        pay = replace(FOREIGN, task="shop.pay")
        assert first(unrecorded_tasks=OWN, search=found(pay, ahead=4)).name == "another_program"

    def test_without_a_result_it_is_possible(self) -> None:
        """As possible as a mistake, and more likely."""
        ignored = "the app ignores results (task_ignore_result)"
        cause = first(unrecorded_tasks=OWN, missing_results=ignored)
        assert (cause.name, cause.certainty) == ("unrecorded_task", Certainty.POSSIBLE)
        assert ignored in cause.sentence
