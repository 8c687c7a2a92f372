"""The facts that decide about actions are looked up, and contents decrypted only if they matter."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.delivery_log.operator_actions import ActionFacts
from mailctl.diagnosis.eligibility_checker import EligibilityChecker
from mailctl.domain.catalog import BUILT_IN_CATALOG, Catalog
from mailctl.domain.eligibility import HOLD, RELEASE, RESEND, RETRY, Hazard
from mailctl.domain.models import Content, Email, User
from mailctl.domain.outcomes import SmtpReply
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from mailctl.errors import ConfigurationError, NotFound, UserDirectoryUnavailable
from mailctl.settings import Settings
from tests import emails
from tests.unit.worker.fakes import Calls, parts

if TYPE_CHECKING:
    from mailctl.domain import eligibility

LATER = datetime.now(UTC) + timedelta(days=1)
NONE: frozenset[str] = frozenset()
DEAD = SmtpReply(code=550, enhanced="5.1.1", text="no such user")


def email(state: State, **more: Any) -> Email:
    """Return an email that has not expired."""
    return emails.email(state, **{"expires_at": LATER, **more})


def facts(**ids: frozenset[str]) -> ActionFacts:
    """Return what the log says: by default, emails have content and nothing speaks against them."""
    known = {"with_content": frozenset({"e1"}), "maybe_sent": NONE, "resent": NONE}
    return ActionFacts(**{**known, "to_suppressed_address": NONE, "to_unsubscribed": NONE, **ids})


class Site:
    """A checker on a log that a test describes."""

    def __init__(
        self,
        *,
        recorded: ActionFacts | None = None,
        contents: dict[str, Content | None] | None = None,
        user: Any = None,
        suppression: Any = None,
        catalog: Any = BUILT_IN_CATALOG,
    ) -> None:
        self.outbox = Calls(contents=contents or {})
        runtime = parts(
            actions=Calls(read_facts=recorded or facts()),
            outbox=self.outbox,
            catalog=catalog,
            settings=Settings(),
            directory=Calls(get=user or User(email="zoe@example.com")),
            suppressions=Calls(find=suppression),
        )
        self.checker = EligibilityChecker(runtime)

    def hazards(self, found: Email) -> frozenset[Hazard]:
        """Return the hazards of a retry."""
        [(_, result)] = self.checker.check(RETRY, [found])
        assert result.obstacle == ""
        return result.hazards

    def commands(self, found: Email) -> list[str]:
        """Return the commands that are suggested for an email."""
        return [str(each.command) for each in self.checker.available_actions(found)]


@pytest.mark.parametrize(
    ("action", "state", "include", "decrypted"),
    [
        (RETRY, State.FAILED, (), []),
        (RETRY, State.EXPIRED, (), []),
        (RETRY, State.EXPIRED, (Hazard.EXPIRED,), ["e1"]),
        (RESEND, State.FAILED, (), ["e1"]),
        (HOLD, State.QUEUED, (), []),
    ],
)
def test_only_contents_that_matter_are_decrypted(
    action: eligibility.Action, state: State, include: tuple[Hazard, ...], decrypted: list[str]
) -> None:
    """Those of copies, and of expired emails that are to be sent nevertheless."""
    site = Site()
    site.checker.check(action, [email(state)], include=include)
    assert [args[0] for _, args, _ in site.outbox.calls] == ([decrypted] if decrypted else [])


@pytest.mark.parametrize(
    ("recorded", "hazard"),
    [
        (facts(maybe_sent=frozenset({"e1"})), Hazard.MAYBE_SENT),
        (facts(resent=frozenset({"e1"})), Hazard.RESENT),
        (facts(to_suppressed_address=frozenset({"e1"})), Hazard.SUPPRESSED),
        (facts(to_unsubscribed=frozenset({"e1"})), Hazard.UNSUBSCRIBED),
        (facts(maybe_sent=frozenset({"another"})), None),
    ],
)
def test_each_recorded_fact_is_a_hazard(recorded: ActionFacts, hazard: Hazard | None) -> None:
    """Of the email that it is recorded for, and of no other."""
    assert Site(recorded=recorded).hazards(email(State.FAILED)) == ({hazard} if hazard else set())


@pytest.mark.parametrize(
    ("code", "reply", "is_hazard"),
    [
        (ReasonCode.REFUSED, DEAD, True),
        (ReasonCode.REFUSED, SmtpReply(code=554, enhanced="5.7.1"), False),
        (ReasonCode.OUT_OF_ATTEMPTS, DEAD, False),
    ],
)
def test_a_dead_mailbox_is_a_hazard_if_it_ended_the_email(
    code: ReasonCode, reply: SmtpReply, is_hazard: bool
) -> None:
    """Another refusal, or the reply to an earlier attempt, is none."""
    found = Site().hazards(email(State.FAILED, reason_code=code, error="said so", reply=reply))
    assert (Hazard.PERMANENT in found) is is_hazard


def test_content_that_no_key_decrypts_cannot_be_copied() -> None:
    """It stays as it is."""
    [(_, result)] = Site(contents={"e1": None}).checker.check(RESEND, [email(State.FAILED)])
    assert result.obstacle == "its content is encrypted with another SECRET_KEY"


def test_links_of_another_program_die_with_the_email() -> None:
    """The email cannot be released; one whose links mailctl makes is resent with new ones."""
    held = email(State.HELD, kind="reset", expires_at=emails.NOW)
    theirs = Content(user=User(email="zoe@example.com"), urls={"reset_url": "https://app.example.com/x"})
    [(_, result)] = Site(contents={"e1": theirs}).checker.check(RELEASE, [held])
    assert (result.obstacle, result.fix) == ("it has expired", "")
    ours = Content(user=User(email="zoe@example.com"))
    [(_, result)] = Site(contents={"e1": ours}).checker.check(RELEASE, [held])
    assert (result.obstacle, result.fix) == ("it has expired", "instead: mailctl resend e1")


def test_a_kind_that_cannot_be_loaded_counts_as_unknown() -> None:
    """A custom kind of a service, in a process without its catalog."""
    broken = Calls(find=ConfigurationError("MAILCTL_CATALOG cannot be loaded.", fix="Correct it."))
    [(_, result)] = Site(catalog=broken).checker.check(RETRY, [email(State.FAILED)])
    assert result.obstacle == "there is no kind 'welcome' any more"


def sent(**more: Any) -> Email:
    """Return an email that was sent; its content was deleted."""
    return email(State.SENT, **more)


def test_instead_of_a_sent_email_another_can_be_sent() -> None:
    """To the same user, or to the address if the directory has no such user."""
    no_content = facts(with_content=NONE)
    assert Site(recorded=no_content).commands(sent()) == ["mailctl send welcome --user-id 7"]
    gone = Site(recorded=no_content, user=NotFound("There is no user 7."))
    assert gone.commands(sent()) == ["mailctl send welcome --email zoe@example.com"]
    assert Site(recorded=no_content).commands(sent(user_id=None)) == [
        "mailctl send welcome --email zoe@example.com"
    ]


def test_a_kind_with_values_of_its_own_is_not_sent_by_a_ready_command() -> None:
    """Its help says what is missing."""
    found = Site(recorded=facts(with_content=NONE)).commands(sent(kind="new-ip"))
    assert found == ["mailctl send new-ip --help"]


@pytest.mark.parametrize(
    "change",
    [
        {"user": UserDirectoryUnavailable("The users cannot be read.", fix="Start it.")},
        {"user": User(email="not an address")},
        {"suppression": object()},
    ],
)
def test_no_command_is_offered_that_would_be_refused(change: dict[str, Any]) -> None:
    """Without the directory, to an invalid address, or to a suppressed one."""
    assert Site(recorded=facts(with_content=NONE), **change).commands(sent()) == []


def test_no_command_is_offered_for_a_kind_that_only_own_tasks_send() -> None:
    """`mailctl send` does not know it."""
    notice = replace(BUILT_IN_CATALOG.get("welcome"), name="notice")
    catalog = Catalog(load_recorded=lambda: {"notice": notice})
    assert Site(recorded=facts(with_content=NONE), catalog=catalog).commands(sent(kind="notice")) == []
