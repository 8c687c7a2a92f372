"""The mail server says no, says nothing, or goes away, at every stage."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from mailctl.domain.states import State
from tests.acceptance.conftest import SMTP_PASSWORD
from tests.faults.forms import with_log_in
from tests.faults.site import holds_within
from tests.smtp_server import AcceptThenDrop, Drop, Reply, Reset, Stall

if TYPE_CHECKING:
    from tests.faults.conftest import Checker
    from tests.faults.site import Site
    from tests.smtp_server import Action

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

#: Faults after which the server certainly has no copy.
HARMLESS: dict[str, list[Action]] = {
    "banner": [Reply("421 4.3.2 busy", then_drop=True), Drop()],
    "ehlo": [Drop(), Reply("421 4.3.2 closing", then_drop=True)],
    "mail": [Reply("451 4.3.0 later"), Drop(), Reply("421 4.4.2 idle", then_drop=True)],
    "rcpt": [Reply("450 4.2.1 greylisted"), Reply("452 4.2.2 full"), Drop(), Reset()],
    "data": [Drop(), Reply("451 4.3.0 later"), Reset()],
    "body": [Reply("451 4.3.0 later"), Reply("452 4.3.1 no space")],
}
#: Faults after which nobody can know.
AMBIGUOUS: list[Action] = [Drop(), Reset(), AcceptThenDrop()]


@pytest.mark.parametrize("stage", list(HARMLESS))
@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_it_fails_before_it_takes_the_message(site: Site, check: Checker, stage: str) -> None:
    """Tried again; one copy each."""
    site.smtp.script[stage] = [action for action in HARMLESS[stage] for _ in range(2)]
    site.start_worker("-c", "2")
    site.enqueue(20)
    site.repaired()
    check()


@with_log_in("postgresql")
def test_every_stage_fails_at_random(site: Site, check: Checker, is_long: bool) -> None:
    """A tenth of all replies is a fault for a while; nothing is lost, nothing sent twice."""
    chance = random.Random(11)

    def script(stage: str) -> object:
        faults = HARMLESS[stage]
        return lambda _: chance.choice(faults) if chance.random() < 0.1 else None

    site.smtp.script.update({stage: script(stage) for stage in HARMLESS})  # type: ignore[misc]
    for _ in range(2):
        site.start_worker("-c", "2")
    site.enqueue(2000 if is_long else 30)
    # The pauses between the attempts of an email that always had bad luck would be minutes; so would those
    # between the probes of a server that happened to fail at each.
    holds_within(600 if is_long else 20, lambda: site.finished() >= len(site.ids) * 4 // 5)
    site.smtp.script.clear()
    site.repaired()
    check()


@with_log_in("sqlite")
def test_the_reply_to_the_body_gets_lost(site: Site, check: Checker) -> None:
    """Undecidable: at most one more copy each, with the same Message-ID, and the event says so."""
    site.smtp.script["body"] = [AcceptThenDrop() for _ in range(5)]
    site.start_worker("-c", "2")
    site.enqueue(20)
    site.repaired()
    account = check(duplicates=5)
    assert account.duplicates == account.duplicates_explained == 5


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_the_reply_to_the_body_gets_lost_and_is_not_risked_again(site: Site) -> None:
    """MAILCTL_ON_AMBIGUOUS=hold leaves the decision to an operator."""
    site.terminal.set(MAILCTL_ON_AMBIGUOUS="hold")
    site.smtp.script["body"] = [AcceptThenDrop() for _ in range(3)]
    site.start_worker("-c", "1")
    site.enqueue(10)
    site.wait_until_finished(7)
    states = [site.runtime.history.find(email_id, limit=1)[0].state for email_id in site.ids]
    assert sorted(states) == ["held"] * 3 + ["sent"] * 7
    assert len(site.smtp.messages) == 10


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_server_that_never_replies_gets_three_copies(site: Site) -> None:
    """Then the email waits for an operator, who finds it and is told what may have arrived."""
    site.terminal.set(MAILCTL_RETRY_FIRST_SECONDS="0.1")
    site.smtp.script["body"] = lambda _: AcceptThenDrop()
    site.start_worker("-c", "2")
    site.enqueue(5)
    site.wait_until(lambda: site.count(State.HELD) == 5)
    assert Counter(message.message_id for message in site.smtp.messages).most_common()[0][1] == 3
    assert len(site.smtp.messages) == 15
    listed = site.terminal.run("list", "--maybe-sent", "--json").lines
    assert {each["task_id"] for each in listed} == set(site.ids)
    said = "may have arrived up to 3 times (same Message-ID); "
    assert site.terminal.status(site.ids[0])["explanation"].startswith(said)
    assert said in site.terminal.run("why", site.ids[0]).out.replace("\n", " ")


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_the_reply_never_comes(site: Site, check: Checker) -> None:
    """A time-out before the body is safe to repeat."""
    site.smtp.script["rcpt"] = [Stall(8), Stall(8)]
    site.start_worker("-c", "2")
    site.enqueue(10)
    site.repaired()
    check()


@with_log_in("postgresql")
def test_some_recipients_are_refused(site: Site, check: Checker) -> None:
    """They fail with the reason, the others are sent."""
    site.smtp.script["rcpt"] = [Reply("550 5.1.1 no such mailbox") for _ in range(4)]
    site.start_worker("-c", "2")
    site.enqueue(20)
    site.repaired()
    check(ended=4)


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
@pytest.mark.parametrize("limit", ["idle", "messages"])
def test_it_ends_sessions(site: Site, check: Checker, limit: str) -> None:
    """A session that was closed while it was idle, or after three messages, costs nobody an attempt."""
    if limit == "idle":
        site.smtp.idle_timeout = 0.3
    else:
        site.smtp.max_messages_per_session = 3
    site.start_worker("-c", "2")
    site.enqueue(20)
    site.wait_until_finished(20)
    site.enqueue(20)
    site.repaired()
    check()


@with_log_in("sqlite")
def test_our_password_is_wrong_for_a_while(site: Site, check: Checker) -> None:
    """One loud finding, few tries, no attempt burnt, and everything goes out afterwards."""
    site.smtp.credentials = ("app", "another-password")
    worker = site.start_worker("-c", "2")
    site.enqueue(40)
    worker.wait_until(lambda: "has not worked since" in worker.output)
    tries = sum(line.startswith("AUTH") for _, way, line in site.smtp.log if way == "C")
    assert tries <= 8
    checks = site.terminal.run("check-config", "--json").data["checks"]
    assert any(check["status"] == "fail" and "has not worked since" in check["detail"] for check in checks)
    site.smtp.credentials = ("app", SMTP_PASSWORD)
    site.repaired()
    check()
    assert {site.runtime.history.find(email_id, limit=1)[0].attempts for email_id in site.ids} == {1}


@with_log_in("postgresql")
def test_its_certificate_is_wrong_for_a_while(site: Site, check: Checker) -> None:
    """Nothing goes out to somebody who cannot prove who they are; then everything does."""
    right = site.terminal.folder / "ca.pem"
    settings = site.runtime.settings
    assert settings.email_ca_file is not None
    right.write_bytes(settings.email_ca_file.read_bytes())
    worker = site.terminal.worker("-c", "1", EMAIL_CA_FILE="/etc/ssl/certs/ca-certificates.crt")
    site.enqueue(10)
    worker.wait_until(lambda: "certificate" in worker.output)
    assert not site.smtp.messages
    assert worker.stop() == 0
    site.start_worker("-c", "1")
    site.repaired()
    check()
