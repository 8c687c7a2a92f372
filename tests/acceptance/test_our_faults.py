"""What becomes of emails while something of ours is wrong: nothing fails, one alarm, and all go out after."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from mailctl.delivery_log.circuits import read_circuits
from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.tables import circuits, emails
from mailctl.domain.catalog import WELCOME
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.emails import utc_now
from tests.smtp_server import ScriptedSmtpServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailctl.domain.models import Email
    from tests.acceptance.terminal import Terminal, Window

#: Emails for each fault.
EMAILS = 200 if os.environ.get("MAILCTL_FAULTS") == "long" else 40
#: The stage, and what the mail server says there to every email: the ten faults of ours that are met most
#: often, and a refusal that no table knows.
FAULTS = (
    ("rcpt", "504 5.5.2 <3f2a9c1b7d4e>: Helo command rejected: need fully-qualified hostname"),
    ("rcpt", "554 5.7.1 <ada@example.com>: Relay access denied"),
    ("mail", "530 5.7.0 Authentication Required."),
    ("mail", "530 5.7.0 Must issue a STARTTLS command first"),
    ("rcpt", "553 5.7.1 <noreply@shop.internal>: Sender address rejected: not owned by user app"),
    (
        "body",
        "554 Message rejected: Email address is not verified. The following identities failed the check",
    ),
    ("body", "550 The from address does not match a verified Sender Identity."),
    ("body", "554 5.2.252 SendAsDenied; app@example.org not allowed to send as noreply@shop.internal"),
    (
        "data",
        "421 Domain sandbox1.mailgun.org is not allowed to send: Sandbox subdomains are for tests.",
    ),
    (
        "body",
        "550 5.1.90 Your message can't be sent because you've reached your daily limit",
    ),
    ("rcpt", "550 we would rather not"),
)
ALARM = re.compile(r"ERROR.*the mail server \S+ (has accepted no email|has not worked) since")


@pytest.fixture
def smtp() -> Iterator[ScriptedSmtpServer]:
    """A mail server without encryption, which is not what this is about."""
    with ScriptedSmtpServer() as server:
        server.keeps_log = False
        yield server


@pytest.fixture
def parts(terminal: Terminal, smtp: ScriptedSmtpServer) -> Iterator[Runtime]:
    """The library on the log of a worker with a memory broker."""
    terminal.set(
        EMAIL_ENABLED="True", EMAIL_HOST="127.0.0.1", EMAIL_PORT=smtp.port, EMAIL_TLS="none",
        EMAIL_FROM_ADDRESS="noreply@shop.internal", MAILCTL_HOME=terminal.folder / ".mailctl",
    )  # fmt: skip
    runtime = Runtime(Settings.load(terminal.folder / ".env"))
    yield runtime
    runtime.close()


@pytest.fixture
def worker(terminal: Terminal, parts: Runtime) -> Window:
    """A worker process."""
    return terminal.worker("-c", "2")


def record(parts: Runtime, name: str) -> list[str]:
    """Record emails to recipients in ten domains."""
    contents = [
        make_content(WELCOME, make_user(email=f"{name}{n}@d{n % 10}.example.com"), origins=parts.link_origins)
        for n in range(EMAILS)
    ]
    return list(Enqueuer(parts).record(EmailRequest(kind=WELCOME), contents).ids)


def find(parts: Runtime, ids: list[str]) -> list[Email]:
    return parts.history.emails(ids)


def is_waiting_behind_the_circuit(parts: Runtime, ids: list[str]) -> bool:
    """Whether the circuit is open, and nothing is on its way any more."""
    is_open = any(each.is_open for each in read_circuits(parts.engine))
    return is_open and {each.state for each in find(parts, ids)} <= {State.PENDING, State.DEFERRED}


def let_the_time_of_the_probe_come(parts: Runtime) -> None:
    """Make everything due that waits for the next probe."""
    now = utc_now()
    waits = emails.c.state.in_([State.PENDING, State.DEFERRED])
    with writing(parts.engine) as connection:
        connection.execute(update(circuits).values(probe_at=now))
        connection.execute(update(emails).where(waits).values(due_at=now, not_before=None))


@dataclass
class Scenario:
    """A mail server that refuses every email for one fault of ours, until it is corrected."""

    parts: Runtime
    worker: Window
    smtp: ScriptedSmtpServer
    stage: str
    reply: str

    def run(self, name: str) -> tuple[int, int, int, int]:
        """Return how many emails failed, alarms were raised, emails were accepted, and attempts were used."""
        printed, accepted = len(self.worker.output), len(self.smtp.messages)
        self.smtp.script = {self.stage: lambda _: self.reply}
        ids = record(self.parts, name)
        self._wait_until(lambda: is_waiting_behind_the_circuit(self.parts, ids))
        self.smtp.script = {}
        let_the_time_of_the_probe_come(self.parts)
        self._wait_until(lambda: {each.state for each in find(self.parts, ids)} == {State.SENT})
        found, messages = find(self.parts, ids), self.smtp.messages[accepted:]
        assert len(messages) == len(ids)
        return (
            sum(each.state is State.FAILED for each in found),
            len(ALARM.findall(self.worker.output[printed:])),
            len({recipient for message in messages for recipient in message.recipients}),
            max(each.attempts for each in found),
        )

    def _wait_until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not is_so():
            assert time.monotonic() < deadline, f"{self.reply}: {self.worker.output[-3000:]}"
            time.sleep(0.05)


def test_no_email_fails_for_a_fault_of_ours(
    parts: Runtime, worker: Window, smtp: ScriptedSmtpServer, record_property: Callable[[str, object], None]
) -> None:
    """Whatever the mail server calls it, and however many it has refused before that is known."""
    for number, (stage, reply) in enumerate(FAULTS):
        scenario = Scenario(parts, worker, smtp, stage, reply)
        failed, alarms, accepted, attempts = scenario.run(f"u{number}-")
        row = (f"{stage}: {reply[:60]}", EMAILS, failed, alarms, accepted, attempts)
        record_property("our faults", tuple(map(str, row)))
        assert (failed, alarms, accepted) == (0, 1, EMAILS), reply
        # Before it is known that everybody is refused, an unknown refusal counts as an attempt.
        assert attempts == 1 or (stage, reply) == FAULTS[-1]
