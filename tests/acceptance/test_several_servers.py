"""Two mail servers: what waits for one that does not work goes by the next; nothing is lost or doubled."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from mailctl.delivery_log.circuits import read_circuits
from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import circuits, emails, events
from mailctl.domain.catalog import RESET, WELCOME
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.acceptance.terminal import Terminal
from tests.emails import utc_now
from tests.smtp_conversation import AcceptThenDrop, Drop, Stall
from tests.smtp_server import ScriptedSmtpServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mailctl.domain.models import Email
    from tests.acceptance.terminal import Window
    from tests.smtp_conversation import Action, Context

IS_LONG = os.environ.get("MAILCTL_FAULTS") == "long"
#: Emails under load.
EMAILS = 3000 if IS_LONG else 120
#: Of the long form: emails a second that come at a steady rate, and how many together.
STEADY_RATE, STEADY_EMAILS = 100, 10
PATIENCE = 120.0
NAMES = ("default", "backup")
SERVERS = """
[servers.backup]
host = "127.0.0.1"
port = {port}
tls = "none"

[[routes]]
kinds = ["reset", "welcome"]
servers = ["default", "backup"]
"""


@dataclass
class Site:
    """A worker with two mail servers."""

    terminal: Terminal
    parts: Runtime
    worker: Window
    default: ScriptedSmtpServer
    backup: ScriptedSmtpServer

    def record(self, name: str, *, count: int = 1, kind: str = "welcome") -> list[str]:
        """Record emails to as many recipients."""
        catalogued = RESET if kind == "reset" else WELCOME
        contents = [
            make_content(catalogued, make_user(email=f"{name}{n}@example.com", id=f"{name}{n}"),
                         origins=self.parts.link_origins)
            for n in range(count)
        ]  # fmt: skip
        return list(Enqueuer(self.parts).record(EmailRequest(kind=catalogued), contents).ids)

    def find(self, ids: Sequence[str]) -> list[Email]:
        return self.parts.history.emails(list(ids))

    def wait_until(self, is_so: Callable[[], bool], *, every: float = 0.05) -> None:
        deadline = time.monotonic() + PATIENCE
        while not is_so():
            assert time.monotonic() < deadline, self.worker.output[-3000:]
            time.sleep(every)

    def wait_until_sent(self, ids: Sequence[str]) -> list[Email]:
        self.wait_until(lambda: {email.state for email in self.find(ids)} == {State.SENT})
        return self.find(ids)

    def is_open(self, name: str) -> bool:
        """Whether the circuit to a server is open."""
        label = self.parts.mail_servers.by_name[name].label
        return any(each.is_open and each.server == label for each in read_circuits(self.parts.engine))

    def open(self, name: str) -> None:
        """Open the circuit to a server, as if it had failed for a while."""
        circuits_of = self.parts.circuits_by_server[name]
        while not circuits_of.record_failure("at connect: refused", stage="connect").is_open:
            pass
        self.rest_for_a_second()

    def close_all(self) -> None:
        """Let both servers work, and all circuits close."""
        for server in (self.default, self.backup):
            server.script, server.max_messages_per_session = {}, None
        self.wait_until(lambda: not self.parts.history.count_by_state().get(State.SENDING))
        # An email of an earlier test may fail meanwhile; the worker reads the circuits every second.
        self.wait_until(self._are_circuits_closed, every=1.1)

    def _are_circuits_closed(self) -> bool:
        """Close all circuits; return whether they were closed."""
        if not read_circuits(self.parts.engine):
            return True
        for each in self.parts.circuits_by_server.values():
            each.record_success()
        return False

    def greet(self, server: ScriptedSmtpServer, banner: Callable[[Context], Action]) -> None:
        """Hang up on everybody, and greet new sessions otherwise; none lasts for long."""
        server.stop()
        server.script, server.max_messages_per_session = {"banner": banner}, 5
        server.start()

    def rest_for_a_second(self) -> None:
        """Wait until the worker has read the circuits again, which it does every second."""
        now = time.monotonic()
        self.wait_until(lambda: time.monotonic() > now + 1.1)

    def let_the_time_of_the_probe_come(self) -> None:
        waits = emails.c.state.in_([State.PENDING, State.DEFERRED])
        with writing(self.parts.engine) as connection:
            connection.execute(update(circuits).values(probe_at=utc_now()))
            connection.execute(update(emails).where(waits).values(due_at=utc_now(), not_before=None))

    def accepted(self, name: str) -> dict[str, Counter[str]]:
        """Return how often each server has accepted the email to each recipient of a test."""
        return {
            server: Counter(
                message.recipients[0]
                for message in list(parts.messages)
                if message.recipients[0].startswith(name)
            )
            for server, parts in zip(NAMES, (self.default, self.backup), strict=True)
        }


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One worker for all tests of the module."""
    folder = tmp_path_factory.mktemp("several") / "site"
    folder.mkdir()
    with ScriptedSmtpServer() as default, ScriptedSmtpServer() as backup, Terminal(folder) as terminal:
        default.keeps_log = backup.keeps_log = False
        (folder / "servers.toml").write_text(SERVERS.format(port=backup.port))
        terminal.set(
            EMAIL_ENABLED="True", EMAIL_HOST="127.0.0.1", EMAIL_PORT=default.port, EMAIL_TLS="none",
            MAILCTL_HOME=folder / ".mailctl", MAILCTL_RETRY_CAP_SECONDS="2",
            MAILCTL_SERVERS=folder / "servers.toml",
        )  # fmt: skip
        terminal.environment["MAILCTL_SERVERS"] = str(folder / "servers.toml")
        parts = Runtime(Settings.load(folder / ".env").model_copy(
            update={"mailctl_servers": folder / "servers.toml"}))  # fmt: skip
        worker = terminal.worker("-c", "2")
        yield Site(terminal, parts, worker, default, backup)
        parts.close()


@pytest.fixture
def site(running: Site) -> Site:
    """The site, whose servers work."""
    running.close_all()
    return running


def test_a_password_reset_goes_by_the_second_server_in_the_same_attempt(site: Site) -> None:
    """The first one refuses connections, and its circuit is not open yet: no retry is waited for."""
    site.default.stop()
    try:
        [email_id] = site.record("down", kind="reset")
        [email] = site.wait_until_sent([email_id])
    finally:
        site.default.start()
    events = site.parts.history.events(email_id)
    assert (email.server, email.attempts) == ("backup", 1)
    assert [event.reason_code for event in events if event.reason_code] == [ReasonCode.NEXT_SERVER]
    assert site.accepted("down") == {"default": Counter(), "backup": Counter(["down0@example.com"])}


@pytest.mark.parametrize(
    ("stage", "action", "said"),
    [
        ("banner", Stall(PATIENCE), "timed out after 3 s at connect"),
        ("mail", Stall(PATIENCE), "timed out after 3 s at mail"),
        ("rcpt", Drop(), "the server closed the connection at rcpt"),
        ("mail", "452 4.3.1 Insufficient system storage", "Insufficient system storage"),
    ],
)
def test_a_server_that_stops_working_is_left_within_the_attempt(
    site: Site, stage: str, action: Action, said: str
) -> None:
    """Not after the time that a server without another one gets; it has said nothing about the email."""
    site.greet(site.default, _welcome)
    site.default.script = {stage: lambda _: action}
    name = f"stops-{said[-4:]}".replace(" ", "-")
    [email] = site.wait_until_sent(site.record(name, kind="reset"))
    assert (email.server, email.attempts) == ("backup", 1)
    texts = [event.text for event in site.parts.history.events(email.id)]
    assert any(re.search(f"{said}.*; trying backup next", text) for text in texts), texts


def test_while_the_circuit_is_open_the_second_server_is_the_first(site: Site) -> None:
    """Nobody asks the first one, and nothing is postponed."""
    site.open("default")
    before = site.default.sessions
    ids = site.record("open", count=5)
    assert {email.server for email in site.wait_until_sent(ids)} == {"backup"}
    assert site.default.sessions == before
    assert {len(site.parts.history.events(email_id)) for email_id in ids} <= {3, 4}


def test_emails_come_back_when_the_first_server_works_again(site: Site) -> None:
    """One of them is the probe."""
    site.open("default")
    site.let_the_time_of_the_probe_come()
    site.rest_for_a_second()
    site.wait_until_sent(site.record("probe"))
    site.wait_until(lambda: not site.is_open("default"))
    assert {email.server for email in site.wait_until_sent(site.record("back", count=5))} == {None}


@pytest.mark.parametrize("stage", ["rcpt", "body"])
def test_a_refusal_of_the_recipient_or_the_content_goes_nowhere_else(site: Site, stage: str) -> None:
    """The second server is not asked."""
    said = "550 5.1.1 no such user" if stage == "rcpt" else "554 5.7.1 Message rejected as spam"
    site.default.script = {stage: lambda _: said}
    [email_id] = site.record(f"refused-{stage}")
    site.wait_until(lambda: site.find([email_id])[0].state is State.FAILED)
    assert site.accepted(f"refused-{stage}")["backup"] == Counter()


def test_what_the_first_server_may_have_stays_with_it(site: Site) -> None:
    """Although it does not work then, and the second one does."""
    site.default.script = {"body": [AcceptThenDrop()]}
    [email_id] = site.record("doubt")
    site.wait_until(lambda: site.find([email_id])[0].reason_code is ReasonCode.NO_REPLY)
    site.open("default")
    with writing(site.parts.engine) as connection:
        is_it = emails.c.id == email_id
        connection.execute(update(emails).where(is_it).values(due_at=utc_now(), not_before=None))
    site.wait_until(lambda: site.find([email_id])[0].reason_code is ReasonCode.MAIL_SERVER_DOWN)
    assert site.accepted("doubt")["backup"] == Counter()
    site.let_the_time_of_the_probe_come()
    [email] = site.wait_until_sent([email_id])
    assert email.server is None
    assert site.accepted("doubt") == {"default": Counter({"doubt0@example.com": 2}), "backup": Counter()}


def test_both_servers_failing_keep_everything_until_one_works(site: Site) -> None:
    """Whichever that is."""
    site.greet(site.default, _closed)
    site.greet(site.backup, _closed)
    ids = site.record("closed", count=10)
    site.wait_until(lambda: site.is_open("default") and site.is_open("backup"))
    site.wait_until(lambda: {e.state for e in site.find(ids)} <= {State.PENDING, State.DEFERRED})
    site.backup.script = {}
    site.let_the_time_of_the_probe_come()
    found = site.wait_until_sent(ids)
    assert {email.server for email in found} == {"backup"}
    assert site.accepted("closed")["default"] == Counter()


def test_commands_name_the_server_of_an_email_and_the_one_that_fails(site: Site) -> None:
    """While emails go by the second one, nothing says that sending is suspended."""
    site.open("default")
    [email_id] = site.record("shown")
    site.wait_until_sent([email_id])
    run = site.terminal.run
    assert run("status", email_id, "--json").data["server"] == "backup"
    groups = run("stats", "--by", "server", "--json").data["groups"]
    assert "backup" in {group["name"] for group in groups}
    default, backup = (site.parts.mail_servers.by_name[name].label for name in NAMES)
    snapshot = run("top", "--json").data
    assert (snapshot["mail_server"], snapshot["mail_servers"][backup]) == (None, None)
    assert "has not worked" in snapshot["mail_servers"][default]
    hops = [hop for hop in run("health", "--json").data["hops"] if hop["name"] == "mail-server"]
    assert {hop["ok"]: hop["detail"] for hop in hops}.keys() == {True, False}


def _silent(_: Context) -> Action:
    return Stall(PATIENCE)


def _welcome(_: Context) -> Action:
    return None


def _closed(_: Context) -> Action:
    return "421 4.3.0 closed"


def _flapping(context: Context) -> Action:
    return None if context.session % 3 else "421 4.3.0 closed"


@pytest.mark.parametrize(
    ("name", "default", "backup"),
    [
        ("none fails (to compare)", _welcome, None),
        ("first dies", None, None),
        ("first silent", _silent, None),
        ("first flaps", _flapping, None),
        ("both flap", _flapping, _flapping),
    ],
)
@pytest.mark.parametrize(
    "is_steady",
    [False, pytest.param(True, marks=pytest.mark.skipif(not IS_LONG, reason="half a minute each"))],
    ids=["in bursts", "steadily"],
)
def test_under_load_nothing_is_lost_or_doubled(
    site: Site,
    name: str,
    default: Callable[[Context], Action] | None,
    backup: Callable[[Context], Action] | None,
    is_steady: bool,
    record_property: Callable[[str, object], None],
) -> None:
    """Emails come while servers fail; what each has accepted is counted by the servers themselves."""
    prefix = f"{'steady' if is_steady else 'bursts'}-{re.sub('[^a-z0-9]+', '-', name)}-"  # of no other row
    name += f", {STEADY_RATE}/s" if is_steady else ""
    ids: list[str] = []
    parts = EMAILS // STEADY_EMAILS if is_steady else 10
    started = time.monotonic()
    for part in range(parts):
        if is_steady:
            due = started + part * STEADY_EMAILS / STEADY_RATE
            site.wait_until(lambda due=due: time.monotonic() >= due, every=0.005)  # type: ignore[misc]
        ids += site.record(f"{prefix}{part}-", count=EMAILS // parts)
        if part == parts // 5 and default is not _welcome:
            site.wait_until(lambda: site.accepted(prefix)["default"].total() > 0)
            site.default.stop() if default is None else site.greet(site.default, default)
            if backup is not None:
                site.greet(site.backup, backup)
    answers_nobody = default in (None, _silent)
    try:
        site.wait_until(lambda: _is_over(site, ids, but_for_doubt=answers_nobody))
    finally:
        if answers_nobody:
            site.greet(site.default, _welcome)
    site.wait_until(lambda: _is_over(site, ids))
    accepted = site.accepted(prefix)
    every = accepted["default"] + accepted["backup"]
    twice = sum(count - 1 for count in every.values())
    moved = set(accepted["default"]) & set(accepted["backup"])
    found = site.find(ids)
    in_doubt = _in_doubt(site, ids)  # they wait for the server that may have them
    longest = max(
        (email.sent_at - email.created_at).total_seconds()
        for email in found
        if email.sent_at and email.id not in in_doubt
    )
    row = (name, len(ids), accepted["default"].total(), accepted["backup"].total(),
           len(ids) - len(every), twice, len(in_doubt), f"{longest:.1f}")  # fmt: skip
    record_property("failover", tuple(map(str, row)))
    assert len(every) == len(ids)
    assert not moved
    assert twice <= len(in_doubt)


def _in_doubt(site: Site, ids: list[str]) -> set[str]:
    """Return the emails of which a server may have had the body, and did not reply."""
    found = select(events.c.email_id).where(events.c.reason_code == ReasonCode.NO_REPLY)
    with reading(site.parts.engine) as connection:
        return set(connection.execute(found).scalars()) & set(ids)


def _is_over(site: Site, ids: list[str], *, but_for_doubt: bool = False) -> bool:
    """Whether all are sent, perhaps but for those that the first server may have while it answers nobody."""
    rest = [email for email in site.find(ids) if email.state is not State.SENT]
    if but_for_doubt:
        return all(
            any(event.reason_code is ReasonCode.NO_REPLY for event in site.parts.history.events(email.id))
            for email in rest
        )
    if rest and {email.state for email in rest} <= {State.PENDING, State.DEFERRED}:
        site.let_the_time_of_the_probe_come()
    return not rest
