"""The checks of the processes that share a log: findings with a fix."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from mailctl.checks.processes import check_processes
from mailctl.delivery_log.pauses import PauseScope
from mailctl.domain.catalog import WELCOME
from mailctl.domain.factory import make_drafts
from mailctl.domain.models import Content, User
from mailctl.domain.request import EmailRequest
from mailctl.runtime import Runtime
from mailctl.security.keyring import Keyring
from mailctl.settings import Settings
from tests.unit.checks.samples import FAIL, OK, WARN, by_name
from tests.workers import worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.checks.finding import Finding
    from mailctl.delivery_log.heartbeats import Worker


@pytest.fixture
def parts() -> Iterator[Runtime]:
    """A process with a log of its own."""
    runtime = Runtime(Settings())
    yield runtime
    runtime.close()


def check(parts: Runtime, *workers: Worker, keyring: Keyring | None = None) -> dict[str, Finding]:
    """Return the findings by their names."""
    return by_name(check_processes(parts.engine, workers, parts.identity, keyring=keyring or parts.keyring))


def record(parts: Runtime) -> None:
    """Record an email."""
    content = Content(user=User(email="zoe@example.com"))
    now = datetime.now(UTC)
    drafts = make_drafts(EmailRequest(kind=WELCOME), [content], queue="celery", now=now)
    parts.outbox.add(drafts, due_at=now)


def test_workers_that_agree_are_named(parts: Runtime) -> None:
    """With what they agree on."""
    finding = check(parts, worker(identity=parts.identity, clock_skew=0.0))["agreement"]
    assert finding.status is OK
    assert finding.detail == ("celery@web and this process agree on: keys, clocks, log, mail-server, version")


def test_without_anything_to_compare_nothing_is_said(parts: Runtime) -> None:
    """Neither workers nor emails."""
    assert check(parts) == {}


def test_another_key_fails_and_another_version_warns(parts: Runtime) -> None:
    """Each with its fix; what is left is agreed on."""
    identity = replace(parts.identity, keys=("bbb",), version="0.1")
    found = check(parts, worker(identity=identity), worker(id="w2", name="b", identity=parts.identity))
    assert (found["keys"].status, found["version"].status) == (FAIL, WARN)
    assert "MAILCTL_SECRET_KEYS_OLD" in found["keys"].fix
    assert found["agreement"].detail.endswith("agree on: clocks, log, mail-server")


def test_emails_that_wait_have_to_be_readable(parts: Runtime) -> None:
    """By this process."""
    record(parts)
    assert check(parts)["content"].status is OK
    finding = check(parts, keyring=Keyring(["another-key"]))["content"]
    assert finding.status is FAIL
    assert finding.detail.startswith("This process cannot decrypt 1 of 1 waiting email")


def test_a_worker_that_fell_silent_is_named(parts: Runtime) -> None:
    """It may have been killed on purpose, so this is a warning."""
    parts.workers._clock = lambda: datetime.now(UTC) - timedelta(seconds=40)
    parts.workers.record_heartbeat(worker(host="another-host", pid=12))
    finding = check(parts)["silent"]
    assert finding.status is WARN
    assert finding.detail.startswith("Worker celery@web (process 12 on host another-host)")
    assert re.search(r"for 4\d s\.$", finding.detail)


def test_a_suspended_process_of_this_host_is_named(parts: Runtime) -> None:
    """With the command that resumes it."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        try:
            os.kill(process.pid, signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            finding = check(parts, worker(host=socket.gethostname(), pid=process.pid))["suspended"]
        finally:
            process.kill()
    assert (finding.status, finding.fix) == (FAIL, f"Resume it: kill -CONT {process.pid}")


def test_a_pause_is_not_forgotten(parts: Runtime) -> None:
    """It is no failure; the command that ends it is named."""
    parts.pauses.pause(PauseScope.QUEUE, "celery", actor="ada", reason="wrong link")
    finding = check(parts)["paused"]
    assert (finding.status, finding.fix) == (WARN, "To resume: mailctl queue resume celery")
    assert finding.detail.startswith("Queue celery has been paused by ada since")
