"""What may be done to an email, and what speaks against it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mailctl.domain.eligibility import (
    CANCEL,
    HOLD,
    RELEASE,
    RESEND,
    RETRY,
    SEND_ANOTHER,
    Action,
    EligibilityFacts,
    Hazard,
    available_actions,
    check_eligibility,
)
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.shell_command import mailctl_command
from mailctl.domain.states import State
from tests.emails import NOW, email

FACTS = EligibilityFacts(has_content=True, may_have_been_sent=False, has_been_resent=False)


def test_retrying_a_dead_mailbox_is_a_hazard() -> None:
    """The mail server has said that the mailbox does not exist."""
    facts = replace(FACTS, is_mailbox_dead=True)
    result = check_eligibility(RETRY, email(State.FAILED), facts, now=NOW)
    assert (result.obstacle, result.hazards) == ("", {Hazard.PERMANENT})


def test_an_unsubscription_is_another_hazard_than_a_suppression() -> None:
    """Whoever includes addresses that bounced does not email those who asked for no more emails."""
    unwanted = email(State.SUPPRESSED, reason_code=ReasonCode.UNSUBSCRIBED)
    listed = email(State.SUPPRESSED, reason_code=ReasonCode.SUPPRESSED_ADDRESS)
    for action in (RETRY, RESEND):
        result = check_eligibility(action, unwanted, FACTS, now=NOW)
        assert result.hazards == {Hazard.UNSUBSCRIBED}
        assert "unsubscribed" in result.describe_blocking_hazards(frozenset({Hazard.SUPPRESSED}))
        assert check_eligibility(action, listed, FACTS, now=NOW).hazards == {Hazard.SUPPRESSED}


def test_a_failure_without_hazards_is_safe_to_retry() -> None:
    """Nothing has to be named."""
    result = check_eligibility(RETRY, email(State.FAILED), FACTS, now=NOW)
    assert (result.obstacle, result.hazards) == ("", frozenset())


def test_every_hazard_has_to_be_named() -> None:
    """One that is named does not stand for another."""
    late = email(State.EXPIRED, expires_at=NOW - timedelta(hours=1))
    facts = EligibilityFacts(has_content=True, may_have_been_sent=True, has_been_resent=False)
    result = check_eligibility(RETRY, late, facts, now=NOW)
    assert result.hazards == {Hazard.EXPIRED, Hazard.MAYBE_SENT}
    assert "maybe-sent" in result.describe_blocking_hazards(frozenset({Hazard.EXPIRED}))
    assert result.describe_blocking_hazards(result.hazards) == ""


def test_a_deferred_email_is_only_tried_earlier() -> None:
    """It would be tried again anyway, whatever speaks against it."""
    facts = EligibilityFacts(has_content=True, may_have_been_sent=True, has_been_resent=False)
    assert check_eligibility(RETRY, email(State.DEFERRED), facts, now=NOW).hazards == frozenset()


def test_links_of_others_cannot_be_renewed() -> None:
    """A new lifetime would not make them work."""
    facts = replace(FACTS, has_ready_made_links=True)
    for action in (RETRY, RESEND):
        assert (
            "its links came with it"
            in check_eligibility(action, email(State.EXPIRED), facts, now=NOW).obstacle
        )


@pytest.mark.parametrize("action", [RETRY, CANCEL, HOLD, RELEASE, RESEND])
def test_nobody_touches_what_a_worker_is_sending(action: Action) -> None:
    """Nor what has gone out."""
    assert (
        check_eligibility(action, email(State.SENDING), FACTS, now=NOW).obstacle == "a worker is sending it"
    )
    assert check_eligibility(action, email(State.SENT), FACTS, now=NOW).obstacle


@pytest.mark.parametrize("state", [State.SENT, State.CAPTURED])
def test_sent_and_captured_emails_cannot_be_resent(state: State) -> None:
    """Their content is forgotten; the command that sends another is named."""
    facts = replace(
        FACTS, has_content=False, send_another_command=mailctl_command("send", "welcome", user_id="7")
    )
    result = check_eligibility(RESEND, email(state), facts, now=NOW)
    assert "deleted" in result.obstacle
    assert "mailctl send welcome --user-id 7" in result.fix


@pytest.mark.parametrize("action", [RETRY, RESEND])
def test_an_unconfirmed_email_is_sent_again_only_by_name(action: Action) -> None:
    """The service's own task may have sent it."""
    result = check_eligibility(action, email(State.UNCONFIRMED), FACTS, now=NOW)
    assert (result.obstacle, result.hazards) == ("", {Hazard.MAYBE_SENT})
    assert State.UNCONFIRMED not in action.default_states


def test_a_reason_names_no_single_email() -> None:
    """Reasons are counted: those of a hundred emails are one line of a plan."""
    late = [email(State.CANCELLED, id=name, expires_at=NOW) for name in ("a1", "b2")]
    assert len({check_eligibility(RELEASE, each, FACTS, now=NOW).obstacle for each in late}) == 1
    sent = [email(State.SENT, user_id=number) for number in ("7", "8")]
    assert len({check_eligibility(RESEND, each, FACTS, now=NOW).obstacle for each in sent}) == 1


def test_what_was_forgotten_cannot_go_out() -> None:
    """An email without content is none."""
    facts = EligibilityFacts(has_content=False, may_have_been_sent=False, has_been_resent=False)
    for action, state in ((RETRY, State.FAILED), (RELEASE, State.CANCELLED), (RESEND, State.FAILED)):
        assert "deleted" in check_eligibility(action, email(state), facts, now=NOW).obstacle
    assert check_eligibility(CANCEL, email(State.PENDING), facts, now=NOW).obstacle == ""


def test_a_task_of_the_services_own_cannot_be_stopped() -> None:
    """Its message is on the broker, and it does not ask the log."""
    facts = EligibilityFacts(
        has_content=True, may_have_been_sent=False, has_been_resent=False, is_queued_for_own_task=True
    )
    assert "service's own task" in check_eligibility(CANCEL, email(State.QUEUED), facts, now=NOW).obstacle


def test_each_state_says_what_to_do_instead() -> None:
    """Held emails are released, not retried; what has ended can be sent again."""
    assert "mailctl release e1" in check_eligibility(RETRY, email(State.HELD), FACTS, now=NOW).fix
    assert "still to be sent" in check_eligibility(RESEND, email(State.QUEUED), FACTS, now=NOW).obstacle
    late = email(State.HELD, expires_at=NOW)
    assert "mailctl resend e1" in check_eligibility(RELEASE, late, FACTS, now=NOW).fix
    assert check_eligibility(RESEND, late, FACTS, now=NOW).obstacle == ""


STATES_AND_TIMES = [(state, late) for state in State for late in (False, True)]
FACTS_THAT_MATTER = [
    FACTS,
    replace(FACTS, has_content=False, send_another_command=mailctl_command("send", "welcome", user_id="7")),
    replace(FACTS, may_have_been_sent=True, is_address_suppressed=True),
    replace(FACTS, has_been_resent=True),
    replace(FACTS, has_known_kind=False),
    replace(FACTS, is_queued_for_own_task=True),
    replace(FACTS, has_ready_made_links=True),
    replace(FACTS, can_be_decrypted=False),
]


@pytest.mark.parametrize(("state", "is_late"), STATES_AND_TIMES)
@pytest.mark.parametrize("facts", FACTS_THAT_MATTER)
def test_what_is_offered_would_be_done(state: State, is_late: bool, facts: EligibilityFacts) -> None:
    """The result of its action has no obstacle, and the command includes each of its hazards."""
    actions = {action.name: action for action in (RETRY, CANCEL, HOLD, RELEASE, RESEND)}
    subject = email(state, expires_at=NOW - timedelta(hours=1) if is_late else NOW + timedelta(hours=1))
    for offer in available_actions(subject, facts, now=NOW):
        if offer.action == SEND_ANOTHER:
            continue
        result = check_eligibility(actions[offer.action], subject, facts, now=NOW)
        included = [each for each in Hazard if any(each in word for word in offer.command.words)]
        assert (result.obstacle, result.describe_blocking_hazards(frozenset(included))) == ("", "")


def test_nothing_else_is_left_out() -> None:
    """What can be done is offered, in each state that there is."""
    offered = {
        state: [each.action for each in available_actions(email(state), FACTS, now=NOW)] for state in State
    }
    assert offered == {
        State.PENDING: ["hold", "cancel"],
        State.QUEUED: ["hold", "cancel"],
        State.SENDING: [],
        State.SENT: [],
        State.CAPTURED: [],
        State.UNCONFIRMED: ["retry", "resend"],
        State.DELIVERED: [],
        State.BOUNCED: [],
        State.COMPLAINED: [],
        State.DEFERRED: ["retry", "hold", "cancel"],
        State.FAILED: ["retry", "resend"],
        State.HELD: ["release", "cancel"],
        State.CANCELLED: ["release", "retry", "resend"],
        State.EXPIRED: ["retry", "resend"],
        State.SUPPRESSED: ["retry", "resend"],
    }
