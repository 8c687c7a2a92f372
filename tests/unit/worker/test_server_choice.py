"""The choice of a mail server in a worker: emails wait only if no server of theirs works."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from mailctl.delivery_log.email_routes import RoutableEmail
from mailctl.domain.outcomes import Outcome, OutcomeKind, ReplyCategory, SmtpReply
from mailctl.domain.routing import Route, RoutedEmail, Routing, ServerPlan
from mailctl.errors import LogUnavailable
from mailctl.worker.server_choice import ServerChoice
from tests.emails import utc_now
from tests.unit.worker.fakes import Calls, parts

ROUTING = Routing(routes=(Route(servers=("default", "backup")),))


class Circuit:
    """An open circuit."""

    is_open = True
    is_about_emails = False
    has_just_opened = False

    def __init__(self, *, probe_in_seconds: float, server: str = "a server") -> None:
        self.server = server
        self.probe_at = utc_now() + timedelta(seconds=probe_in_seconds)

    def __str__(self) -> str:
        return f"down for {(self.probe_at - utc_now()).total_seconds():.0f} s"


class Site:
    """Two servers, whose circuits are closed unless a test says otherwise."""

    def __init__(
        self, *, default: Circuit | None = None, backup: Circuit | None = None, **routes: Any
    ) -> None:
        self.circuits = {
            name: Calls(
                read=circuit,
                acquire_probe=True,
                postpone_email=True,
                record_failure=Circuit(probe_in_seconds=60),
            )
            for name, circuit in (("default", default), ("backup", backup))
        }
        self.routes = Calls(**{"find": [[email("a")]], "move": True, **routes})
        self.choice = ServerChoice(
            parts(
                circuits_by_server=self.circuits,
                mail_servers=SimpleNamespace(routing=ROUTING, by_name=self.circuits),
                email_routes=self.routes,
            )
        )

    def plan(self, each: RoutableEmail | None = None) -> ServerPlan:
        return self.choice.plan(each or email("a"))[1]


def email(email_id: str, *, holder: str | None = None) -> RoutableEmail:
    facts = RoutedEmail(kind="welcome", queue="celery", recipient="ada@example.com")
    return RoutableEmail(id=email_id, facts=facts, possible_holder=holder)


def test_while_all_work_the_log_is_not_asked() -> None:
    """Each email goes by the first server, and may go on to the next."""
    site = Site()
    assert site.choice.postpone(["a"]) == {}
    assert site.routes.calls == []
    assert site.plan() == ServerPlan(server="default", alternatives=("backup",))


def test_a_failing_server_is_passed_over() -> None:
    """Nothing waits, and no probe is acquired before its time."""
    site = Site(default=Circuit(probe_in_seconds=60))
    assert site.choice.postpone(["a"]) == {}
    assert site.plan() == ServerPlan(server="backup")
    assert "acquire_probe" not in site.circuits["default"].names


def test_one_email_probes_a_failing_server_when_it_is_time() -> None:
    """And goes on to the next one if that still fails; another email does not."""
    site = Site(default=Circuit(probe_in_seconds=-1))
    assert site.choice.postpone(["a"]) == {}
    assert site.plan() == ServerPlan(server="default", alternatives=("backup",))
    assert site.plan() == ServerPlan(server="backup")


def test_an_attempt_that_was_not_made_leaves_no_probe() -> None:
    """Another worker had the email; at its next attempt, nobody has allowed it to probe."""
    default = Circuit(probe_in_seconds=-1)
    site = Site(default=default, find=[[email("a")], [email("a")]])
    assert site.choice.postpone(["a"]) == {}
    default.probe_at += timedelta(hours=1)
    assert site.choice.postpone(["a"]) == {}
    assert site.plan() == ServerPlan(server="backup")


def test_an_email_waits_if_all_of_its_servers_fail() -> None:
    """For the one that is probed first."""
    site = Site(
        default=Circuit(probe_in_seconds=60, server="a:25"),
        backup=Circuit(probe_in_seconds=30, server="backup (b:25)"),
    )
    assert site.choice.postpone(["a"]) == {"a": "down for 30 s"}
    [(_, args, given)] = [call for call in site.circuits["backup"].calls if call[0] == "postpone_email"]
    assert (args, given["route"]) == (("a",), "default,backup")
    assert given["servers"] == ["a:25", "backup (b:25)"]


def test_what_a_server_may_have_waits_for_that_server() -> None:
    """Although the other one works."""
    doubtful = email("a", holder="default")
    site = Site(default=Circuit(probe_in_seconds=60), find=[[doubtful]])
    assert site.choice.postpone(["a"]) == {"a": "down for 60 s"}
    assert site.plan(doubtful) == ServerPlan(server="default")


def test_a_server_that_the_settings_do_not_have_any_more_gets_nothing() -> None:
    """What it may have goes by the routes."""
    assert Site().plan(email("a", holder="gone")).server == "default"


def outcome(kind: OutcomeKind, stage: str, category: ReplyCategory | None = None) -> Outcome:
    return Outcome(kind=kind, stage=stage, category=category, reply=SmtpReply(code=550, text="no"))


@pytest.mark.parametrize(
    ("said", "following"),
    [
        (outcome(OutcomeKind.DEFERRED, "connect"), "backup"),
        (outcome(OutcomeKind.DEFERRED, "tls"), "backup"),
        (outcome(OutcomeKind.CONFIG, "auth", ReplyCategory.CREDENTIALS), "backup"),
        (outcome(OutcomeKind.CONFIG, "mail", ReplyCategory.SENDER), "backup"),
        (outcome(OutcomeKind.CONFIG, "body", ReplyCategory.QUOTA), "backup"),
        (outcome(OutcomeKind.DEFERRED, "connect", ReplyCategory.CONNECTIONS), None),
        (outcome(OutcomeKind.DEFERRED, "mail", ReplyCategory.RATE), None),
        (outcome(OutcomeKind.DEFERRED, "rcpt", ReplyCategory.GREYLISTING), None),
        (outcome(OutcomeKind.REFUSED, "rcpt", ReplyCategory.DEAD_MAILBOX), None),
        (outcome(OutcomeKind.REFUSED, "body", ReplyCategory.CONTENT), None),
        (outcome(OutcomeKind.AMBIGUOUS, "body"), None),
        (outcome(OutcomeKind.ACCEPTED, "body"), None),
        (outcome(OutcomeKind.CONFIG, ""), None),
    ],
)
def test_only_what_a_server_does_for_every_email_goes_on(said: Outcome, following: str | None) -> None:
    """Not what it says of the recipient or the content, and never what it may have accepted."""
    claim: Any = SimpleNamespace(id="a", plan=ServerPlan(alternatives=("backup",)))
    assert Site().choice.may_move_on(claim, said, ["default"]) == (following is not None)
    assert not Site().choice.may_move_on(claim, said, ["default", "backup"])


def test_a_failure_is_recorded_when_the_email_moves_on() -> None:
    """Of the server that it leaves; where it is now is recorded first."""
    site = Site()
    claim: Any = SimpleNamespace(id="a", plan=ServerPlan(alternatives=("backup",)))
    assert site.choice.move_on(claim, outcome(OutcomeKind.DEFERRED, "connect"), ["default"]) == "backup"
    assert site.routes.names == ["move"]
    assert "record_failure" in site.circuits["default"].names


@pytest.mark.parametrize(
    ("backup", "moved"),
    [(Circuit(probe_in_seconds=60), True), (None, False), (None, LogUnavailable("the log is gone."))],
    ids=["the next one fails too", "another worker has it", "the log is gone"],
)
def test_an_email_stays_if_the_next_server_must_not_get_it(backup: Circuit | None, moved: Any) -> None:
    """It is tried again later."""
    site = Site(backup=backup, move=moved)
    claim: Any = SimpleNamespace(id="a", plan=ServerPlan(alternatives=("backup",)))
    assert site.choice.move_on(claim, outcome(OutcomeKind.DEFERRED, "connect"), ["default"]) is None
    assert "record_failure" not in site.circuits["default"].names
