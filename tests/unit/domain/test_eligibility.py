"""What may be done to an email, and what speaks against it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mailctl.command import mailctl
from mailctl.domain.eligibility import (
    CANCEL,
    HOLD,
    RELEASE,
    RESEND,
    RETRY,
    SEND_ANOTHER,
    Action,
    Facts,
    Hazard,
    is_of_a_dead_mailbox,
    judge,
    offers,
)
from mailctl.domain.models import SmtpReply, State
from tests.emails import NOW, email

FACTS = Facts(has_content=True, may_be_sent=False, is_resent=False)


@pytest.mark.parametrize(
    ("code", "enhanced", "is_dead"),
    [
        (550, "5.1.1", True),
        (550, "5.1.10", True),
        (550, "5.2.1", True),
        (550, None, True),
        (550, "5.7.1", False),
        (552, "5.2.2", False),
        (550, "5.1.8", False),
        (554, None, False),
        (451, "4.2.1", False),
        (None, None, False),
    ],
)
def test_a_dead_mailbox_is_told_by_its_code(code: int | None, enhanced: str | None, is_dead: bool) -> None:
    """The enhanced code counts where there is one; a full mailbox or a blocked sender is no dead one."""
    assert is_of_a_dead_mailbox(SmtpReply(code=code, enhanced=enhanced)) is is_dead


def test_a_failure_without_hazards_is_safe_to_retry() -> None:
    """Nothing has to be named."""
    judgement = judge(RETRY, email(State.FAILED), FACTS, now=NOW)
    assert (judgement.obstacle, judgement.hazards) == ("", frozenset())


def test_every_hazard_has_to_be_named() -> None:
    """One that is named does not stand for another."""
    late = email(State.EXPIRED, expires_at=NOW - timedelta(hours=1))
    facts = Facts(has_content=True, may_be_sent=True, is_resent=False)
    judgement = judge(RETRY, late, facts, now=NOW)
    assert judgement.hazards == {Hazard.USELESS, Hazard.MAYBE_SENT}
    assert "maybe-sent" in judgement.left(frozenset({Hazard.USELESS}))
    assert judgement.left(judgement.hazards) == ""


def test_a_deferred_email_is_only_tried_earlier() -> None:
    """It would be tried again anyway, whatever speaks against it."""
    facts = Facts(has_content=True, may_be_sent=True, is_resent=False)
    assert judge(RETRY, email(State.DEFERRED), facts, now=NOW).hazards == frozenset()


def test_links_of_others_cannot_be_renewed() -> None:
    """A new lifetime would not make them work."""
    facts = replace(FACTS, has_foreign_links=True)
    for action in (RETRY, RESEND):
        assert "ready-made" in judge(action, email(State.EXPIRED), facts, now=NOW).obstacle


@pytest.mark.parametrize("action", [RETRY, CANCEL, HOLD, RELEASE, RESEND])
def test_nobody_touches_what_a_worker_is_sending(action: Action) -> None:
    """Nor what has gone out."""
    assert judge(action, email(State.SENDING), FACTS, now=NOW).obstacle == "a worker is sending it"
    assert judge(action, email(State.SENT), FACTS, now=NOW).obstacle


@pytest.mark.parametrize("state", [State.SENT, State.CAPTURED])
def test_delivered_emails_cannot_be_resent(state: State) -> None:
    """Their content is forgotten; the command that sends another is named."""
    facts = replace(FACTS, has_content=False, another=mailctl("send", "welcome", user_id="7"))
    judgement = judge(RESEND, email(state), facts, now=NOW)
    assert "forgotten" in judgement.obstacle
    assert "mailctl send welcome --user-id 7" in judgement.fix


def test_a_reason_names_no_single_email() -> None:
    """Reasons are counted: those of a hundred emails are one line of a plan."""
    late = [email(State.CANCELLED, id=name, expires_at=NOW) for name in ("a1", "b2")]
    assert len({judge(RELEASE, each, FACTS, now=NOW).obstacle for each in late}) == 1
    sent = [email(State.SENT, user_id=number) for number in ("7", "8")]
    assert len({judge(RESEND, each, FACTS, now=NOW).obstacle for each in sent}) == 1


def test_what_was_forgotten_cannot_go_out() -> None:
    """An email without content is none."""
    facts = Facts(has_content=False, may_be_sent=False, is_resent=False)
    for action, state in ((RETRY, State.FAILED), (RELEASE, State.CANCELLED), (RESEND, State.FAILED)):
        assert "forgotten" in judge(action, email(state), facts, now=NOW).obstacle
    assert judge(CANCEL, email(State.PENDING), facts, now=NOW).obstacle == ""


def test_a_task_of_the_services_own_cannot_be_stopped() -> None:
    """Its message is on the broker, and it does not ask the log."""
    facts = Facts(has_content=True, may_be_sent=False, is_resent=False, is_out_of_reach=True)
    assert "of the service's own" in judge(CANCEL, email(State.QUEUED), facts, now=NOW).obstacle


def test_each_state_says_what_to_do_instead() -> None:
    """Held emails are released, not retried; what is over can be sent anew."""
    assert "mailctl release e1" in judge(RETRY, email(State.HELD), FACTS, now=NOW).fix
    assert "it is on its way" in judge(RESEND, email(State.QUEUED), FACTS, now=NOW).obstacle
    late = email(State.HELD, expires_at=NOW)
    assert "mailctl resend e1" in judge(RELEASE, late, FACTS, now=NOW).fix
    assert judge(RESEND, late, FACTS, now=NOW).obstacle == ""


STATES_AND_TIMES = [(state, late) for state in State for late in (False, True)]
FACTS_THAT_MATTER = [
    FACTS,
    replace(FACTS, has_content=False, another=mailctl("send", "welcome", user_id="7")),
    replace(FACTS, may_be_sent=True, is_listed=True),
    replace(FACTS, is_resent=True),
    replace(FACTS, is_of_known_kind=False),
    replace(FACTS, is_out_of_reach=True),
    replace(FACTS, has_foreign_links=True),
    replace(FACTS, is_readable=False),
]


@pytest.mark.parametrize(("state", "is_late"), STATES_AND_TIMES)
@pytest.mark.parametrize("facts", FACTS_THAT_MATTER)
def test_what_is_offered_would_be_done(state: State, is_late: bool, facts: Facts) -> None:
    """The judgement of its action has no obstacle, and the command includes each of its hazards."""
    actions = {action.name: action for action in (RETRY, CANCEL, HOLD, RELEASE, RESEND)}
    subject = email(state, expires_at=NOW - timedelta(hours=1) if is_late else NOW + timedelta(hours=1))
    for offer in offers(subject, facts, now=NOW):
        if offer.action == SEND_ANOTHER:
            continue
        judgement = judge(actions[offer.action], subject, facts, now=NOW)
        included = [each for each in Hazard if any(each in word for word in offer.command.words)]
        assert (judgement.obstacle, judgement.left(frozenset(included))) == ("", "")


def test_nothing_else_is_left_out() -> None:
    """What can be done is offered, in each state that there is."""
    offered = {state: [each.action for each in offers(email(state), FACTS, now=NOW)] for state in State}
    assert offered == {
        State.PENDING: ["hold", "cancel"],
        State.QUEUED: ["hold", "cancel"],
        State.SENDING: [],
        State.SENT: [],
        State.CAPTURED: [],
        State.DEFERRED: ["retry", "hold", "cancel"],
        State.FAILED: ["retry", "resend"],
        State.HELD: ["release", "cancel"],
        State.CANCELLED: ["release", "retry", "resend"],
        State.EXPIRED: ["retry", "resend"],
        State.SUPPRESSED: ["retry", "resend"],
    }
