"""Many single emails are sent concurrently by one process, and nothing waits for what is slow."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from mailctl.domain.catalog import RESET, WELCOME
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.recipient_list import RecipientRow
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.campaign import CampaignRecorder
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.enqueue.grouping import MAX_SINGLE_EMAILS
from mailctl.runtime import Runtime
from mailctl.settings import GROUPS_QUEUE, Settings
from tests.smtp_server import ScriptedSmtpServer, Stall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.domain.catalog import Kind
    from tests.acceptance.terminal import Terminal, Window
    from tests.smtp_server import Action, Context

COUNT = 80
#: Sessions of the only process, and the seconds for which the mail server keeps its reply back.
SESSIONS = 8
FOR_EVER = 300.0
SLOW = "slow@example.com"


class Site:
    """A log, and a mail server that never replies to the bodies of some recipients."""

    def __init__(self, terminal: Terminal, server: ScriptedSmtpServer) -> None:
        self.terminal, self.server = terminal, server
        self.stalled: list[str] = []
        server.script["body"] = self._answer
        terminal.set(MAILCTL_HOME=terminal.folder / ".mailctl", MAILCTL_SMTP_CONNECTIONS=SESSIONS)
        self.runtime = Runtime(Settings.load(terminal.folder / ".env"))

    def _answer(self, context: Context) -> Action:
        [recipient] = context.recipients
        if recipient == SLOW or recipient.startswith("campaign"):
            self.stalled.append(recipient)
            return Stall(FOR_EVER)
        return None

    def record(self, *addresses: str, kind: Kind = WELCOME) -> tuple[str, ...]:
        """Record single emails together, and publish them as a process of the service does."""
        enqueuer, origins = Enqueuer(self.runtime), self.runtime.link_origins
        contents = [make_content(kind, make_user(email=each), origins=origins) for each in addresses]
        ids = enqueuer.record(EmailRequest(kind=kind), contents).ids
        enqueuer.publish(ids)
        return ids

    def record_campaign(self, count: int) -> None:
        """Record a campaign."""
        rows = [RecipientRow(line=n, email=f"campaign{n}@example.com") for n in range(count)]
        for _ in CampaignRecorder(self.runtime, EmailRequest(campaign="spring", kind=WELCOME)).record(rows):
            pass

    def start_worker(self) -> Window:
        """Start a worker with one process, and wait until others know that it takes groups."""
        worker = self.terminal.worker("-c", "1")
        worker.wait_until(lambda: bool(self.runtime.workers.list_alive()))
        return worker

    def states(self) -> Counter[State]:
        """Return how many emails are in each state."""
        return Counter(self.runtime.history.count_by_state())


@pytest.fixture
def site(production: Terminal, smtp_server: ScriptedSmtpServer) -> Iterator[Site]:
    """A site in production."""
    site = Site(production, smtp_server)
    with closing(site.runtime):
        yield site


def test_many_single_emails_and_then_a_campaign(site: Site) -> None:
    """A recipient whose server never replies keeps no other waiting; nor does a campaign of such recipients.

    One process has them all. A reset gets through although every email of the campaign that was begun hangs.
    """
    worker = site.start_worker()
    ids = site.record(SLOW, *(f"user{number}@example.com" for number in range(COUNT)))
    worker.wait_until(lambda: len(site.server.messages) == COUNT)
    worker.wait_until(lambda: site.states()[State.SENT] == COUNT)
    assert site.states()[State.SENDING] == 1
    # Not one after the other, and with no more sessions than allowed.
    assert 4 < site.server.peak_sessions <= SESSIONS
    events = {email_id: site.runtime.history.events(email_id) for email_id in ids}
    grouped = [email_id for email_id in ids if any("in a group" in event.text for event in events[email_id])]
    assert COUNT - MAX_SINGLE_EMAILS <= len(grouped) <= COUNT + 1
    results = Counter(site.runtime.app.AsyncResult(email_id).state for email_id in ids[1:])
    assert results == {"SUCCESS": COUNT}

    site.record_campaign(3 * SESSIONS)
    worker.wait_until(lambda: len(site.stalled) > 1)
    site.record("reset@example.com", kind=RESET)
    worker.wait_until(lambda: len(site.server.messages) > COUNT)
    [reset] = site.server.messages[COUNT:]
    assert reset.recipients == ("reset@example.com",)
    # Of the campaign as much is in flight as there are sessions, but one for others and one for the slow one.
    assert len(site.stalled) - 1 <= SESSIONS - 1
    worker.kill()


def test_what_was_not_begun_is_not_in_doubt(site: Site) -> None:
    """A worker is killed in the middle of a group: only what was claimed for a session may have been sent."""
    worker = site.start_worker()
    ids = site.record(*(f"campaign@d{number}.example" for number in range(COUNT)))
    worker.wait_until(lambda: len(site.stalled) == SESSIONS - 1)  # one is for domains that answer
    worker.kill()
    states = site.states()
    sending = states[State.SENDING]
    assert SESSIONS - 1 <= sending <= SESSIONS
    assert states[State.PENDING] + states[State.QUEUED] == COUNT - sending
    # An operator sees the others, also those whose messages are groups.
    peeked = site.terminal.run("queue", "peek", "-n", "200", "--json").lines
    assert {entry["task_id"] for entry in peeked} <= set(ids)
    assert len(peeked) == COUNT - sending
    [listed] = [
        line for line in site.terminal.run("queue", "list", "--json").lines if line["queue"] == "celery"
    ]
    assert (listed["depth"], listed["in_flight"]) == (COUNT, sending)
    in_group = next(
        email for email in site.runtime.history.emails(ids) if email.message_queue == GROUPS_QUEUE
    )
    why = site.terminal.run("why", in_group.id)
    assert "lost" not in why.out
