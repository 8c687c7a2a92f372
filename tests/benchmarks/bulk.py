"""Many emails: mailctl's batches against a naive task an email, and against what SMTP alone would allow."""

from __future__ import annotations

import itertools
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from celery import Celery

from mailctl.domain.catalog import WELCOME
from mailctl.domain.factory import make_drafts, make_recipient
from mailctl.domain.models import Content
from mailctl.domain.recipient_list import RecipientRow
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.campaign import FIRST_CHUNK_ROWS, MAX_CHUNK_ROWS, CampaignRecorder
from mailctl.settings import BULK_QUEUE
from tests.benchmarks.bench import PROCESSES, Bench, Figure, at_least, in_rounds, wait_until
from tests.benchmarks.naive import DONE, QUEUE
from tests.servers import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

EMAILS = 4000
NAIVE_EMAILS = 500
ROWS = 20_000
DELAYS = 2000
SHORT_BACKLOG, LONG_BACKLOG = 3_000, 30_000
TASK = "naive.send"
_numbers = itertools.count()


def on_sqlite(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """From the first row to the last recorded outcome, Redis and SQLite."""
    with Bench(folder) as bench, _naive(bench) as naive, campaigns(bench) as ours:
        limit = _limit(bench)
        # By turns, because the machine's speed changes.
        turns = [(ours(), naive(), limit()) for _ in range(rounds)]
    ours_each, naive_each, limit_each = zip(*turns, strict=True)
    yield at_least("bulk, SQLite, emails/s (other: naive)", ours_each, naive_each, 12)
    yield at_least("bulk, SQLite, emails/s (other: limit)", ours_each, limit_each, 0.65)


def on_postgresql(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """The same with the log in PostgreSQL."""
    with (
        PostgresServer() as server,
        Bench(folder, log_url=server.make_database()) as bench,
        _naive(bench) as naive,
        campaigns(bench) as ours,
    ):
        turns = [(ours(), naive()) for _ in range(rounds)]
    ours_each, naive_each = zip(*turns, strict=True)
    yield at_least("bulk, PostgreSQL, emails/s (other: naive)", ours_each, naive_each, 9)


def drain(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """A long backlog drains as fast as a short one."""
    with Bench(folder) as bench:
        short = in_rounds(lambda: _drain(bench, SHORT_BACKLOG), rounds=rounds)
        long = _drain(bench, LONG_BACKLOG)
    yield at_least("draining 30,000, emails/s (other: 3,000)", long, short, 0.8)


def _drain(bench: Bench, count: int) -> float:
    """Return the rate at which a backlog goes out, from its first email on."""
    done = sent(bench)
    record_campaign(bench, count)
    worker = bench.terminal.worker("-c", str(PROCESSES))
    wait_until(lambda: sent(bench) > done, every=0.02)
    started = time.perf_counter()
    wait_until(lambda: sent(bench) >= done + count)
    seconds = time.perf_counter() - started
    worker.stop()
    return count / seconds


def sent(bench: Bench) -> int:
    """Return how many emails are sent."""
    return bench.runtime.history.count_by_state().get(State.SENT, 0)


def enqueue(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """Rows into the log, validated, against Celery's delay(), and against the log by itself."""
    with Bench(folder) as bench:
        record_campaign(bench, FIRST_CHUNK_ROWS)  # the first rows import what they need
        # By turns, because the machine's speed changes and the log grows.
        turns = [
            (ROWS / record_campaign(bench, ROWS), _delays(bench), _written(bench)) for _ in range(rounds)
        ]
    ours, delays, written = zip(*turns, strict=True)
    yield at_least("bulk enqueue, rows/s (other: delay)", ours, delays, 15)
    yield at_least("bulk enqueue, rows/s (other: writing alone)", ours, written, 0.5)


def _written(bench: Bench) -> float:
    """Return the rate at which the log takes rows that are ready, which no enqueue can exceed."""
    log, now, campaign = bench.runtime.campaigns, datetime.now(UTC), f"bench-{next(_numbers)}"
    log.create_or_update(campaign, kind=WELCOME.name, rate=None)
    drafts = [
        make_drafts(
            EmailRequest(kind=WELCOME, campaign=campaign),
            [Content(user=make_recipient(email=f"user{n}@example.com", name="Ada"))],
            queue=BULK_QUEUE,
            now=now,
        )[0]
        for n in range(ROWS)
    ]
    batches = [
        log.prepare_batch(drafts[start : start + MAX_CHUNK_ROWS])
        for start in range(0, len(drafts), MAX_CHUNK_ROWS)
    ]
    started = time.perf_counter()
    for batch in batches:
        log.add(batch)
    bench.runtime.outbox.flush()
    return ROWS / (time.perf_counter() - started)


def record_campaign(bench: Bench, count: int) -> float:
    """Record a campaign; return the seconds that it takes."""
    rows = [RecipientRow(line=n, email=f"user{n}@example.com", name="Ada") for n in range(count)]
    mailing = EmailRequest(campaign=f"bench-{next(_numbers)}", kind=WELCOME)
    started = time.perf_counter()
    for _ in CampaignRecorder(bench.runtime, mailing).record(rows):
        pass
    return time.perf_counter() - started


def send_campaigns(bench: Bench, rounds: int) -> list[float]:
    """Return the rate of each of some campaigns; see `campaigns`."""
    with campaigns(bench) as measure:
        return in_rounds(measure, rounds=rounds)


@contextmanager
def campaigns(bench: Bench) -> Iterator[Callable[[], float]]:
    """Start a worker; yield what sends a campaign and returns its rate in emails a second.

    It is measured from the first row to the last recorded outcome.
    """
    worker = bench.terminal.worker("-c", str(PROCESSES))

    def measure() -> float:
        done = sent(bench) + EMAILS
        started = time.perf_counter()
        record_campaign(bench, EMAILS)
        wait_until(lambda: sent(bench) >= done)
        return EMAILS / (time.perf_counter() - started)

    try:
        yield measure
    finally:
        worker.stop()


@contextmanager
def _naive(bench: Bench) -> Iterator[Callable[[], float]]:
    templates = bench.folder / "templates"
    templates.mkdir()
    (templates / "welcome.html").write_text(_body(bench).replace("Ada", "{{ name }}"))
    environment = {
        "NAIVE_REDIS": bench.redis.url,
        "NAIVE_PORT": str(bench.port),
        "NAIVE_TEMPLATES": str(templates),
    }
    options = ("-c", str(PROCESSES), "-l", "ERROR", "--without-gossip", "--without-mingle")
    worker = bench.python("-m", "celery", "-A", "tests.benchmarks.naive", "worker", *options, **environment)
    client = bench.redis.client()
    service = _client(bench)

    def measure() -> float:
        client.delete(DONE)
        started = time.perf_counter()
        for number in range(NAIVE_EMAILS):
            service.tasks[TASK].delay(f"user{number}@example.com", "Ada")
        wait_until(lambda: int(client.get(DONE) or 0) >= NAIVE_EMAILS)
        return NAIVE_EMAILS / (time.perf_counter() - started)

    try:
        measure()  # the worker starts meanwhile
        yield measure
    finally:
        worker.terminate()
        worker.wait()
        client.close()
        service.close()


def _delays(bench: Bench) -> float:
    with _client(bench) as client:
        started = time.perf_counter()
        for number in range(DELAYS):
            client.tasks[TASK].delay(f"user{number}@example.com", "Ada")
        return DELAYS / (time.perf_counter() - started)


def _client(bench: Bench) -> Celery:
    """Return what a service without mailctl has: an app with the naive task."""
    client = Celery("client", broker=bench.redis.url, backend=bench.redis.url, set_as_current=False)
    client.conf.task_default_queue = QUEUE

    @client.task(name=TASK, shared=False)
    def send(address: str, name: str) -> None:
        """Only its signature is needed here."""

    client.finalize()
    return client


def _limit(bench: Bench) -> Callable[[], float]:
    message = bench.folder / "message.eml"
    message.write_bytes(_envelope(bench))

    def measure() -> float:
        arguments = ("-m", "tests.benchmarks.limit", str(bench.port), str(message), str(EMAILS))
        processes = [bench.python(*arguments) for _ in range(PROCESSES)]
        seconds = [float(process.communicate()[0]) for process in processes]
        return PROCESSES * EMAILS / max(seconds)

    return measure


def _envelope(bench: Bench) -> bytes:
    mailing = EmailRequest(campaign="bench", kind=WELCOME)
    row = RecipientRow(line=1, email="ada@example.com", name="Ada")
    envelope = CampaignRecorder(bench.runtime, mailing).preview([row])
    assert envelope is not None
    return envelope.data


def _body(bench: Bench) -> str:
    import email
    import email.policy

    message = email.message_from_bytes(_envelope(bench), policy=email.policy.default)
    body = message.get_body(("html",))
    assert body is not None
    return str(body.get_content())
