"""What keeps emails from being sent although workers take them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.circuits import FAILURES_TO_OPEN, Circuits
from mailctl.delivery_log.heartbeats import DEAD_AFTER_SECONDS
from mailctl.delivery_log.pauses import PauseScope
from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.tables import circuits, workers
from mailctl.domain.models import Deferral
from mailctl.domain.outcomes import Outcome, OutcomeKind, ReplyCategory, SmtpReply
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from mailctl.monitoring.incident.evidence import LogFacts, RecentFacts, read_recent_facts
from mailctl.monitoring.incident.sending import MANY_REFUSED, find_backlog, find_sending_problems, is_everyday
from tests.unit.monitoring.incident.conftest import OWN, names

if TYPE_CHECKING:
    from tests.unit.monitoring.incident.conftest import Scene


def test_a_mail_server_that_fails_is_named_with_its_workers(scene: Scene) -> None:
    """Also before its circuit opens, and only if a live worker uses it."""
    scene.worker("good")
    scene.worker("bad", mail_server="bad:25")
    Circuits(scene.runtime.engine, "unused:25").record_failure("connection refused", stage="connect")
    Circuits(scene.runtime.engine, "bad:25").record_failure("connection refused", stage="connect")
    [found] = find_sending_problems(scene.facts())
    assert (found.name, found.held_up) == ("mail_server_down", 0)
    assert "the last attempt at bad:25 failed" in found.sentence
    assert found.sentence.endswith("(the server of bad)")


def test_what_a_failing_server_defers_is_told_once(scene: Scene) -> None:
    """As what waits for the server, not as errors beside it."""
    scene.worker()
    for email_id in scene.add(FAILURES_TO_OPEN):
        scene.defer(email_id, None, "connection refused", stage="connect")
        Circuits(scene.runtime.engine, OWN).record_failure("connection refused", stage="connect")
    [found] = find_sending_problems(scene.facts())
    assert (found.name, found.held_up) == ("mail_server_down", FAILURES_TO_OPEN)
    assert f": {OWN} has not worked since" in found.sentence
    assert found.fix.startswith("Sending resumes once the server works; the next probe is at ")
    assert found.fix.endswith(": mailctl check-config")


def test_an_email_that_failed_in_two_ways_is_held_up_once(scene: Scene) -> None:
    """As after a change of the settings that did not help."""
    scene.worker()
    for email_id in scene.add(2):
        scene.defer(email_id, None, "connection refused", stage="connect")
        then = scene.runtime.clock() - timedelta(minutes=1)
        scene.change(email_id, state=State.PENDING, reason_code=None, due_at=then, not_before=None)
        scene.defer(email_id, None, "certificate has expired", stage="tls")
    for _ in range(FAILURES_TO_OPEN):
        Circuits(scene.runtime.engine, OWN).record_failure("certificate has expired", stage="tls")
    [found] = find_sending_problems(scene.facts())
    assert (found.name, found.held_up) == ("smtp_tls", 2)
    assert "After you change a setting, restart the workers." in found.fix


def test_credentials_that_were_not_sent_were_not_rejected(scene: Scene) -> None:
    """mailctl never sends them without TLS."""
    scene.worker()
    Circuits(scene.runtime.engine, OWN).record_failure("credentials are never sent without TLS", stage="auth")
    [found] = find_sending_problems(scene.facts())
    assert found.sentence.startswith("Signing in to the mail server fails: ")
    assert "rejects" not in found.sentence


def test_a_probe_that_nobody_makes_is_due(scene: Scene) -> None:
    """As while the worker is stopped: it was to be a while ago."""
    scene.worker()
    for _ in range(FAILURES_TO_OPEN):
        Circuits(scene.runtime.engine, OWN).record_failure("connection refused", stage="connect")
    with writing(scene.runtime.engine) as connection:
        then = scene.runtime.clock() - timedelta(minutes=1)
        connection.execute(circuits.update().values(probe_at=then))
    [found] = find_sending_problems(scene.facts())
    assert "; the next probe is due." in found.fix


def test_the_server_of_a_worker_that_is_stopped_counts(scene: Scene) -> None:
    """And not one that nobody uses any more."""
    Circuits(scene.runtime.engine, "earlier:25").record_failure("connection refused", stage="connect")
    scene.worker()
    then = scene.runtime.clock() - timedelta(seconds=DEAD_AFTER_SECONDS + 5)
    with writing(scene.runtime.engine) as connection:
        connection.execute(workers.update().values(seen_at=then))
    assert names(find_sending_problems(scene.facts())) == []


@pytest.mark.parametrize(("count", "is_failure"), [(1, False), (MANY_REFUSED, True)])
def test_what_has_been_sending_for_minutes_is_told(scene: Scene, count: int, is_failure: bool) -> None:
    """A single email may be a large one, or go to a slow server; many are none."""
    scene.worker()
    then = scene.runtime.clock() - timedelta(minutes=3)
    with writing(scene.runtime.engine) as connection:
        connection.execute(workers.update().values(started_at=then - timedelta(minutes=1)))
    for email_id in scene.add(count):
        scene.claim(email_id)
        scene.change(email_id, updated_at=then)
    [found] = find_sending_problems(scene.facts())
    assert (found.name, found.held_up, found.is_failure) == ("mail_server_slow", count, is_failure)
    assert ", the first for 3 min: no reply of the mail server is recorded yet" in found.sentence
    for email_id in scene.add(1):
        scene.claim(email_id)
    assert len(list(find_sending_problems(scene.facts()))) == 1


@pytest.mark.parametrize(("minutes", "found"), [(4, []), (6, ["backlog"])])
def test_what_has_waited_for_minutes_is_told(scene: Scene, minutes: int, found: list[str]) -> None:
    """If workers consume its queue; otherwise that is the problem."""
    scene.worker()
    then = scene.runtime.clock() - timedelta(minutes=minutes)
    for email_id in scene.add(2):
        scene.change(email_id, updated_at=then)
    assert names(find_backlog(scene.facts())) == found
    with writing(scene.runtime.engine) as connection:
        connection.execute(workers.update().values(queues=["other"]))
    assert names(find_backlog(scene.facts())) == []


def test_a_pause_is_a_problem_if_emails_wait_for_it(scene: Scene) -> None:
    """Otherwise it is a note."""
    scene.worker()
    scene.runtime.pauses.pause(PauseScope.KIND, "welcome", actor="ada", reason="wrong text")
    [found] = find_sending_problems(scene.facts())
    assert (found.name, found.is_failure) == ("paused", False)
    scene.add(2)
    [found] = find_sending_problems(scene.facts())
    assert (found.is_failure, found.held_up) == (True, 2)
    assert found.fix == "To resume: mailctl queue resume --kind welcome"


def test_throttling_is_a_problem_from_the_first_email_on(scene: Scene) -> None:
    """With the words of the mail server."""
    scene.worker()
    [email_id] = scene.add()
    scene.defer(email_id, 451, "too many messages, slow down", stage="mail")
    [found] = find_sending_problems(scene.facts())
    assert (found.is_failure, found.held_up) == (True, 1)
    assert "too many messages" in found.sentence


@pytest.mark.parametrize(("count", "is_failure"), [(1, False), (MANY_REFUSED, True)])
def test_one_dead_mailbox_is_a_note_and_many_are_a_problem(
    scene: Scene, count: int, is_failure: bool
) -> None:
    """People mistype their addresses every day."""
    scene.worker()
    for email_id in scene.add(count):
        scene.refuse(email_id, 550, "5.1.1", "no such mailbox")
    [found] = find_sending_problems(scene.facts())
    assert (found.name, found.is_failure) == ("recipient_refused", is_failure)


def test_what_is_scheduled_is_a_note(scene: Scene) -> None:
    """Somebody may wonder why nothing is sent."""
    scene.worker()
    [email_id] = scene.add()
    scene.change(email_id, not_before=scene.runtime.clock() + timedelta(hours=1))
    assert names(find_sending_problems(scene.facts())) == ["scheduled"]
    [found] = find_sending_problems(scene.facts())
    assert (found.is_failure, found.held_up) == (False, 0)


def test_nothing_has_to_be_done_for_what_is_tried_again(scene: Scene) -> None:
    """The fix says so, and how to see the next attempts."""
    scene.worker()
    [email_id] = scene.add()
    scene.defer(email_id, 450, "4.7.1 greylisted", stage="rcpt")
    [found] = find_sending_problems(scene.facts())
    assert found.fix.startswith("It is tried again without your help; see which: mailctl list --state")


def test_everyday_replies_are_about_one_recipient() -> None:
    """Ours never are."""
    assert is_everyday(SmtpReply(code=550, enhanced="5.1.1", text="no"), stage="rcpt")
    assert not is_everyday(SmtpReply(code=554, enhanced="5.7.1", text="Relay access denied"), stage="rcpt")
    assert not is_everyday(None, stage="")


def test_what_waits_for_its_turn_has_not_failed(scene: Scene) -> None:
    """The rate of a server is used up: nothing needs a repair."""
    scene.worker()
    [email_id] = scene.add()
    outcome = Outcome(kind=OutcomeKind.DEFERRED, category=ReplyCategory.RATE)
    assert outcome.reason_code is ReasonCode.SEND_RATE
    until = scene.runtime.clock() + timedelta(seconds=5)
    scene.runtime.attempt_results.defer(
        Deferral(claim=scene.claim(email_id), until=until, outcome=outcome, counts_as_attempt=False)
    )
    assert names(find_sending_problems(scene.facts())) == []


def test_what_is_settled_is_told_in_the_past(scene: Scene) -> None:
    """After "Nothing is wrong", nothing is said to be wrong."""
    scene.worker()
    [email_id] = scene.add()
    scene.defer(email_id, None, "timed out after 3 s at connect", stage="connect")
    [before] = find_sending_problems(scene.facts())
    assert before.sentence.startswith("The mail server is not available: timed out")
    scene.change(email_id, state=State.SENT)
    [after] = find_sending_problems(scene.facts())
    assert (after.is_failure, after.fix) == (False, "")
    assert re.fullmatch(
        r"1 email failed at CONNECT at \d\d:\d\d UTC and is no longer waiting: timed out .*", after.sentence
    )


def test_a_paused_campaign_is_not_to_be_paused(scene: Scene) -> None:
    """Only to be looked at."""
    scene.worker()
    ids = scene.add(MANY_REFUSED + 1)
    for email_id in ids:
        scene.change(email_id, campaign="spring")
    for email_id in ids[1:]:
        scene.refuse(email_id, 550, "5.1.1", "no such mailbox")
    fixes = []
    for _ in range(2):
        problems = {each.name: each for each in find_sending_problems(scene.facts())}
        fixes.append(problems["campaign_failing"].fix)
        scene.runtime.pauses.pause(PauseScope.CAMPAIGN, "spring", actor="ada", reason="")
    assert [fix.rpartition(": ")[2] for fix in fixes] == [
        "mailctl campaign pause spring",
        "mailctl campaign show spring",
    ]


def test_errors_that_are_known_are_not_read_again(scene: Scene) -> None:
    """Whoever looks every other second shares what takes longest to read."""
    scene.worker()
    [email_id] = scene.add()
    scene.defer(email_id, 451, "too many messages, slow down", stage="mail")
    known = read_recent_facts(scene.runtime)
    assert len(known.errors) == 1
    [found] = find_sending_problems(LogFacts(scene.runtime, recent=known))
    assert "too many messages" in found.sentence
    nothing = RecentFacts(errors=(), campaigns=())
    assert names(find_sending_problems(LogFacts(scene.runtime, recent=nothing))) == []
