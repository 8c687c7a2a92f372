"""The mail servers of all workers, by what the log has of their last attempts."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.circuits import FAILURES_TO_OPEN, Circuits
from mailctl.monitoring.mail_servers import mail_server_hops
from mailctl.runtime import Runtime, open_without_log
from mailctl.settings import Settings
from tests.workers import worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    """A process that sends through `own:25`."""
    opened = Runtime(Settings(mailctl_home=tmp_path, email_enabled=True, email_host="own", email_port=25))
    yield opened
    opened.close()


def fail(runtime: Runtime, server: str, times: int) -> None:
    """Let attempts at a server fail."""
    for _ in range(times):
        Circuits(runtime.engine, server).record_failure("connection refused")


def test_a_server_that_fails_is_not_healthy_before_its_circuit_opens(runtime: Runtime) -> None:
    """The last attempt is what is known of it."""
    fail(runtime, "own:25", 1)
    [hop] = mail_server_hops(runtime, runtime.workers.list_alive())
    assert (hop.ok, hop.detail) == (False, "the last attempt at own:25 failed: connection refused")
    fail(runtime, "own:25", 1)
    [hop] = mail_server_hops(runtime, runtime.workers.list_alive())
    assert hop.detail == "the last 2 attempts at own:25 failed: connection refused"
    fail(runtime, "own:25", FAILURES_TO_OPEN)
    [hop] = mail_server_hops(runtime, runtime.workers.list_alive())
    assert hop.detail.startswith("the mail server own:25 has not worked since")


def test_the_servers_of_workers_count_and_not_that_of_this_process(runtime: Runtime) -> None:
    """Of this one nobody knows whether it is used at all."""
    now = datetime.now(UTC)
    for name, server in (("a", "a:25"), ("b", "b:25")):
        identity = replace(runtime.identity, mail_server=server)
        runtime.workers.record_heartbeat(worker(now, id=name, name=name, host="elsewhere", identity=identity))
    fail(runtime, "own:25", 1)
    fail(runtime, "b:25", 1)
    assert [(hop.ok, hop.detail) for hop in mail_server_hops(runtime, runtime.workers.list_alive())] == [
        (True, "a:25 is not failing"),
        (False, "the last attempt at b:25 failed: connection refused"),
    ]


def test_without_an_attempt_nothing_is_known(runtime: Runtime) -> None:
    """Nor without a log; that is said."""
    [hop] = mail_server_hops(runtime, runtime.workers.list_alive())
    assert (hop.ok, hop.detail) == (True, "unknown: it has replied to no email in the last 60 min")
    with closing(open_without_log(runtime.settings)) as without_log:
        [hop] = mail_server_hops(without_log, without_log.workers.list_alive())
    assert hop.detail.startswith("unknown: no delivery log")


def test_capturing_needs_no_server(tmp_path: Path) -> None:
    """Also if another process of the log has seen one fail."""
    with closing(Runtime(Settings(mailctl_home=tmp_path))) as opened:
        fail(opened, "localhost:587", FAILURES_TO_OPEN)
        [hop] = mail_server_hops(opened, opened.workers.list_alive())
    assert (hop.ok, hop.detail) == (True, "EMAIL_ENABLED=False: emails are captured")
