"""What operators do while real workers run: each email is at the mail server once, or not at all."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

import pytest

from mailctl import runtime
from mailctl.cli.main import main
from mailctl.delivery_log.operator_actions import AuditInfo
from mailctl.delivery_log.pauses import PauseScope
from mailctl.domain.eligibility import CANCEL, HOLD, RELEASE
from mailctl.domain.states import State
from mailctl.operations.action_models import ActionOutcome, ActionRequest
from mailctl.operations.bulk_actions import BulkAction
from mailctl.operations.selection import select_by_ids
from tests.acceptance.terminal import PATIENCE
from tests.faults.site import Site
from tests.smtp_server import Reply, Stall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailctl.domain.models import Email
    from tests.acceptance.terminal import Terminal
    from tests.servers import RedisServer
    from tests.smtp_server import Action, Context, ScriptedSmtpServer

    Run = Callable[..., tuple[int, str, str]]


#: Workers take their time to start on a busy machine.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def site(production: Terminal, redis: RedisServer, smtp_server: ScriptedSmtpServer) -> Iterator[Site]:
    """A production set-up with the library at hand."""
    production.set(MAILCTL_HOME=production.folder / ".mailctl")
    with Site(production, redis, smtp_server) as site:
        yield site


@pytest.fixture
def run(site: Site, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command on the site's log, in this process; returns its exit code, output and talk."""

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main((*arguments, "--env-file", str(site.terminal.folder / ".env")))
        finally:
            runtime.close()
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that a worker does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def copies(site: Site) -> dict[str, int]:
    """Return how many copies of each email of the log the mail server has, by its address."""
    found = dict.fromkeys((email.to for email in emails(site)), 0)
    for message in list(site.smtp.messages):
        found[message.recipients[0]] += 1
    return found


def emails(site: Site) -> list[Email]:
    """Return all emails of the site."""
    return [site.runtime.history.find(email_id, limit=1)[0] for email_id in site.ids]


def test_retry_is_a_plan_first_and_then_each_goes_out_once(site: Site, run: Run) -> None:
    """What the server refused for reasons that are over goes out; a dead mailbox only when it is named."""
    dead = {"user0@example.com", "user1@example.com"}

    def refuse(context: Context) -> Action:
        is_dead = any(address in context.line for address in dead)
        return Reply("550 5.1.1 no such user") if is_dead else Reply("550 5.7.1 blocked by a list")

    site.smtp.script["rcpt"] = refuse
    site.start_worker("-c", "2")
    site.enqueue(12)
    site.wait_until_finished(12)
    failed = ("retry", "--state", "failed", "--error", "550")
    code, plan, _ = run(*failed, "--dry-run")
    assert (code, "10  would be retried (failed 10)" in plan, "2  left out: permanent" in plan) == (
        0,
        True,
        True,
    )
    code, _, said = run(*failed)
    assert (code, "--yes" in said) == (4, True)
    assert not site.smtp.messages
    site.smtp.script["rcpt"] = []
    _, done, _ = run(*failed, "--yes", "--reason", "delisted", "--json")
    outcomes = sorted(json.loads(line)["outcome"] for line in done.splitlines())
    assert outcomes == ["done"] * 10 + ["left out"] * 2
    site.smtp.wait_for(10, timeout=PATIENCE)
    run("retry", "--state", "failed", "--include", "permanent,suppressed", "--yes")
    site.smtp.wait_for(12, timeout=PATIENCE)
    wait_until(lambda: all(email.state is State.SENT for email in emails(site)))
    assert set(copies(site).values()) == {1}
    [event] = [event for event in site.runtime.history.events(site.ids[5]) if event.actor]
    assert (event.state, event.text) == (State.PENDING, "retried: delisted")


def test_cancel_reaches_what_a_worker_has_fetched(site: Site, run: Run) -> None:
    """Its message is in the hands of a worker that is busy with another; it is not sent."""
    (site.terminal.folder / "greedy.py").write_text(
        "from celery import Celery\n"
        f"app = Celery('greedy', broker={site.redis.url!r}, backend={site.redis.url!r})\n"
        "app.conf.worker_prefetch_multiplier = 10\n"
    )
    site.smtp.script["rcpt"] = [Stall(10)]
    site.enqueue(4)
    client = site.redis.client()
    site.terminal.worker("-c", "1", MAILCTL_APP="greedy:app")
    wait_until(lambda: client.hlen("unacked") == 4)
    client.close()
    cancel = BulkAction(site.runtime, ActionRequest(action=CANCEL, audit=AuditInfo(actor="a test")))
    results = [result.outcome for result in cancel.execute(select_by_ids(site.runtime, site.ids[2:3]))]
    assert (results, site.smtp.messages) == ([ActionOutcome.DONE], [])
    site.wait_until_finished(4)
    assert copies(site) == {f"user{n}@example.com": int(n != 2) for n in range(4)}
    code, late, _ = run("cancel", site.ids[0])
    assert (code, "it is already sent" in late) == (1, True)


def test_hold_and_release_never_make_two_copies(site: Site) -> None:
    """Whatever the workers are doing at that moment."""
    site.start_worker("-c", "2")
    audit = AuditInfo(actor="a test")
    hold = BulkAction(site.runtime, ActionRequest(action=HOLD, audit=audit))
    release = BulkAction(site.runtime, ActionRequest(action=RELEASE, audit=audit))
    held = 0
    enqueuing = threading.Thread(target=lambda: site.enqueue(120))
    enqueuing.start()
    while enqueuing.is_alive() or held == 0:
        chosen = site.ids[-40:]
        held += sum(
            r.outcome is ActionOutcome.DONE for r in hold.execute(select_by_ids(site.runtime, chosen))
        )
        list(release.execute(select_by_ids(site.runtime, chosen)))
    enqueuing.join()
    list(release.execute(select_by_ids(site.runtime, site.ids)))
    site.wait_until_finished(len(site.ids))
    assert held > 0
    assert {email.state for email in emails(site)} == {State.SENT}
    assert set(copies(site).values()) == {1}


def test_a_pause_outlives_the_worker_and_loses_nothing(site: Site, run: Run) -> None:
    """With messages on the broker: nothing moves until it is resumed, then each goes out once."""
    site.enqueue(8)
    assert {email.state for email in emails(site)} == {State.QUEUED}
    code, paused, _ = run("queue", "pause", "celery", "--reason", "the MX is moving")
    assert (code, "8 emails waiting" in paused) == (0, True)
    worker = site.start_worker("-c", "2")
    wait_until(lambda: all(email.state is State.PENDING for email in emails(site)))
    site.enqueue(4)
    _, status, _ = run("status", site.ids[0])
    assert ("queue celery has been paused by" in status, "the MX is moving" in status) == (True, True)
    worker.stop()
    site.start_worker("-c", "2")
    bulk = len(site.ids)
    site.enqueue_campaign(30)
    site.smtp.wait_for(30, timeout=PATIENCE)
    assert {email.state for email in emails(site)[:bulk]} == {State.PENDING}
    assert {email.attempts for email in emails(site)[:bulk]} == {0}
    assert run("queue", "resume", "celery")[0] == 0
    site.wait_until_finished(len(site.ids))
    assert {email.state for email in emails(site)} == {State.SENT}
    assert len(site.smtp.messages) == len(site.ids)
    assert len(site.smtp.by_message_id()) == len(site.ids)


def test_a_campaign_pauses_in_the_middle(site: Site) -> None:
    """A batch that a worker has in hand stops at its next group."""
    site.smtp.script["rcpt"] = [Stall(2)] * 20
    site.start_worker("-c", "1")
    site.enqueue_campaign(200)
    site.smtp.wait_for_line("RCPT", timeout=PATIENCE)
    site.runtime.pauses.pause(PauseScope.KIND, "welcome", actor="a test", reason="")
    wait_until(lambda: not any(email.state in (State.SENDING, State.QUEUED) for email in emails(site)))
    out = len(site.smtp.messages)
    assert 0 < out < 200
    site.runtime.pauses.resume(PauseScope.KIND, "welcome")
    site.wait_until_finished(200)
    assert len(site.smtp.messages) == len(site.smtp.by_message_id()) == 200
