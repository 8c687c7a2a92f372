"""Reports about emails: over HTTP and LMTP into the delivery log (SQLite), and what many of them cost."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import smtplib
import statistics
import subprocess
import sys
import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, text, update

from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import emails
from mailctl.diagnosis.status import StatusService
from mailctl.domain.catalog import WELCOME
from mailctl.domain.models import Content, User
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.feedback import Feedback, FeedbackKind, Proof, record, settle
from mailctl.feedback.lmtp import LmtpSource
from mailctl.feedback.watching import FeedbackWatch
from mailctl.runtime import Runtime
from mailctl.security.bounce_address import bounce_address_from_settings
from mailctl.settings import Settings
from tests import webhooks
from tests.benchmarks import growth, ten_million
from tests.benchmarks.bench import Figure, at_least, at_most, wait_until
from tests.feedback_mail import samples
from tests.servers import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mailctl.feedback.providers.webhook import WebhookRequest

#: Events a second that the mechanism has to take.
_BAR = 500
_EMAILS = 2_000
_CLIENTS = 32
_LARGE = 1_000_000
#: The emails of a small log and of a large one.
_ROWS = (1_000, _LARGE)
_REPEATS = 100
_SECRETS = {name: webhooks.secret_of(name) for name in ("postmark", "sendgrid")}


def webhook_events(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """How many events a second become states, and the CPU time of each, one a request and 100 a request."""
    with _server(folder) as server:
        for name, provider, batch in (("one", "postmark", 1), ("100", "sendgrid", 100)):
            measured = [_measure(folder, server, provider, batch=batch) for _ in range(rounds)]
            per_second, cpu_seconds = zip(*measured, strict=True)
            yield at_least(f"webhooks: events/s, {name} a request", per_second, _BAR, 1)
            # What two cores have for each event; it does not depend on other load.
            yield at_most(f"webhooks: CPU ms an event, {name} a request", cpu_seconds, 2 / _BAR, 1)


@dataclass(frozen=True)
class _Server:
    """A process that takes webhooks."""

    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has taken so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _server(folder: Path) -> Iterator[_Server]:
    environment = {"MAILCTL_HOME": str(folder), "MAILCTL_WEBHOOK_SECRETS": json.dumps(_SECRETS)}
    command = [sys.executable, "-m", "mailctl", "feedback", "serve", "--port", "0"]
    with subprocess.Popen(
        command, env={**os.environ, **environment}, cwd=folder, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        found = re.search(r"http://\S+:(\d+)", process.stderr.readline())
        assert found is not None
        # What it logs would fill the pipe.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield _Server(port=int(found[1]), pid=process.pid)
        process.send_signal(signal.SIGTERM)


def _measure(folder: Path, server: _Server, provider: str, *, batch: int) -> tuple[float, float]:
    """Return how many events a second were taken, and the CPU seconds of each."""
    log = Runtime(Settings(MAILCTL_HOME=folder))
    ids = _sent_emails(log)
    requests = [_request(provider, ids[at : at + batch]) for at in range(0, len(ids), batch)]
    cpu_before, started = server.cpu_seconds(), time.perf_counter()
    asyncio.run(_post_all(server.port, f"/webhooks/{provider}", requests))
    took, cpu_seconds = time.perf_counter() - started, server.cpu_seconds() - cpu_before
    with reading(log.engine) as connection:
        is_delivered = emails.c.state == State.DELIVERED
        query = select(func.count()).where(is_delivered, emails.c.id.in_(ids[:500]))
        assert connection.execute(query).scalar_one() == len(ids[:500])
    log.close()
    return len(ids) / took, cpu_seconds / len(ids)


def _sent_emails(log: Runtime) -> list[str]:
    contents = [Content(user=User(email=f"user{number}@example.com")) for number in range(_EMAILS)]
    ids = Enqueuer(log).record(EmailRequest(kind=WELCOME), contents).ids
    with writing(log.engine) as connection:
        connection.execute(update(emails).where(emails.c.state == State.PENDING).values(state=State.SENT))
    return list(ids)


def _request(provider: str, ids: Sequence[str]) -> WebhookRequest:
    [given] = [case["payload"] for case in webhooks.cases(provider) if case["name"] == "delivered"]
    events = [_event(given[0] if isinstance(given, list) else given, email_id) for email_id in ids]
    payload = events if isinstance(given, list) else events[0]
    return webhooks.make_request(provider, payload, at=datetime.now(UTC))


def _event(given: dict[str, Any], email_id: str) -> dict[str, Any]:
    ids = {"mailctl-id": email_id, "sg_event_id": email_id, "MessageID": email_id}
    return given | ids | {"Metadata": {"mailctl-id": email_id}, "email": None, "Recipient": None}


async def _post_all(port: int, path: str, requests: Sequence[WebhookRequest]) -> None:
    """Post requests over a few open connections; a client with more features takes longer than the server."""
    waiting = iter(requests)

    async def post() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in waiting:
            writer.write(_http_request(path, request))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), head
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
        writer.close()

    await asyncio.gather(*(post() for _ in range(_CLIENTS)))


def _http_request(path: str, request: WebhookRequest) -> bytes:
    length = str(len(request.body))
    headers = {**request.headers, "host": "localhost", "x-forwarded-proto": "https", "content-length": length}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + request.body


_FILL = """
INSERT INTO mailctl_feedback
    (digest, email_id, source, kind, proof, received_at, text, summary, is_hard, waits, is_about_other)
SELECT id, id, 'ses', 'delivered', 'verified', created_at, '', 'delivered', FALSE, FALSE, FALSE
FROM mailctl_emails
"""
_FILL_EVENTS = """
INSERT INTO mailctl_events (email_id, at, state, attempt, text, reason_code)
SELECT id, created_at, 'delivered', 1, 'delivered', 'delivery_reported' FROM mailctl_emails
"""


def large_log(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """What a million reports cost those who ask for a status, a worker, and the next reports; in SQLite."""
    yield from _compared(*(growth.filled(folder / f"{rows}", rows) for rows in _ROWS), rounds=rounds)


def large_log_on_postgresql(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """The same with the log in PostgreSQL."""
    with PostgresServer() as server:
        yield from _compared(*(ten_million.filled(server, folder, rows) for rows in _ROWS), rounds=rounds)


def _compared(small: Runtime, large: Runtime, *, rounds: int) -> Iterator[Figure]:
    """Compare, by turns, what is asked of two logs in which each email has a report."""
    for log in (small, large):
        with log.engine.begin() as connection:
            connection.execute(text(_FILL))
            connection.execute(text(_FILL_EVENTS))
        with log.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))
    for name, (question, bar) in _QUESTIONS.items():
        few, many = zip(*(_by_turns(question, small, large) for _ in range(rounds)), strict=True)
        title = f"{name}, {large.engine.dialect.name}, ms: {_LARGE:,} reports (other: {_ROWS[0]:,})"
        yield at_most(title, many, few, bar)
    small.close()
    large.close()


def _by_turns(question: Callable[[Runtime, str], object], *logs: Runtime) -> list[float]:
    """Return the median of what a question takes about an email in each log; the logs take turns."""
    ids = [_some_id(log) for log in logs]
    taken: list[list[float]] = [[] for _ in logs]
    for _ in range(_REPEATS):
        for log, email_id, seconds in zip(logs, ids, taken, strict=True):
            started = time.perf_counter()
            question(log, email_id)
            seconds.append(time.perf_counter() - started)
    return [statistics.median(seconds) for seconds in taken]


def _some_id(log: Runtime) -> str:
    with reading(log.engine) as connection:
        return str(connection.execute(select(emails.c.id).where(emails.c.seq == 777)).scalar_one())


def _status(log: Runtime, email_id: str) -> None:
    assert StatusService(log).status(email_id).reports


def _why(log: Runtime, email_id: str) -> None:
    assert StatusService(log).why(email_id).causes


def _settle(log: Runtime, _: str) -> None:
    settle(log)
    log.campaign_guard.pause_failing()


def _record(log: Runtime, email_id: str) -> None:
    source_id = str(uuid.uuid4())
    kind, proof = FeedbackKind.DELIVERED, Proof.VERIFIED
    report = Feedback(source="ses", source_id=source_id, kind=kind, proof=proof, email_id=email_id)
    record(log, [report])


#: What is asked of the logs, and how many times as long the large one may take.
_QUESTIONS: dict[str, tuple[Callable[[Runtime, str], object], float]] = {
    "status": (_status, 1.1),
    "why": (_why, 1.1),
    "relay's look at reports": (_settle, 3),
    "recording of a report": (_record, 3),
}


def time_to_why(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """From the moment when a mail server hands a bounce over (LMTP) to the moment when `why` tells of it."""
    log = Runtime(Settings(MAILCTL_HOME=folder, MAILCTL_BOUNCE_ADDRESS="bounces@bounce.example.org"))
    bounces = bounce_address_from_settings(log.settings)
    assert bounces is not None
    source = LmtpSource("127.0.0.1:0")
    watch = FeedbackWatch(log, [source])
    thread = threading.Thread(target=watch.run)
    thread.start()
    wait_until(lambda: source.port is not None)
    [sample] = [each for each in samples("bounces") if each.name == "postfix-unknown-user"]
    took = []
    for email_id in _sent_emails(log)[: 10 * rounds]:
        mail, sender = sample.mail(token=bounces.token(email_id)), bounces.sender(email_id)
        started = time.perf_counter()
        with smtplib.LMTP("127.0.0.1", source.port or 0) as client:
            client.sendmail("", [sender], mail)
        assert StatusService(log).why(email_id).causes[0].name == "bounced"
        took.append(time.perf_counter() - started)
    watch.stop()
    thread.join()
    log.close()
    yield at_most("bounce by LMTP to why, ms (other: a second)", statistics.median(took), 1.0, 1)
