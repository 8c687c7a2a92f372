"""A worker under every envelope that we know of: it lives, the queue empties, each message is recorded."""

from __future__ import annotations

import json
import re
import sys
import uuid
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from mailctl.delivery_log.storage.tables import emails
from mailctl.domain.catalog import RESET
from mailctl.domain.factory import make_content, make_drafts, make_user
from mailctl.domain.request import EmailRequest
from tests.faults.site import Site
from tests.fuzz.brokers import OnRabbit, OnRedis
from tests.fuzz.damaged_envelopes import damaged_envelopes
from tests.fuzz.envelopes import QUEUE, STOLEN, End, Envelope, Shape, whole
from tests.fuzz.shapes import broadcasts, shapes
from tests.fuzz.test_live_worker import wait_until
from tests.servers import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.acceptance.terminal import Terminal, Window
    from tests.fuzz.brokers import Broker
    from tests.servers import RedisServer
    from tests.smtp_server import ScriptedSmtpServer

pytestmark = pytest.mark.timeout(900)
#: The property of a report that carries a row of the table.
PROPERTY = "envelopes"
#: KiB that the worker may take at most: what it takes anyway, and a body that somebody compressed.
MEMORY = 400 * 1024
#: What a terminal would act on, in what a worker prints.
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
ROOT = str(Path(__file__).parent.parent.parent)
#: A queue that no worker consumes.
ELSEWHERE = "elsewhere"
ENDS = {End.SENT: "sent", End.FAILED: "failed", End.EXPIRED: "expired", End.SCHEDULED: "pending"}


@pytest.fixture(params=["redis", "rabbitmq"])
def place(
    request: pytest.FixtureRequest, production: Terminal, redis: RedisServer, smtp_server: ScriptedSmtpServer
) -> Iterator[tuple[Site, Broker]]:
    """A site in production, and its broker; beside Redis, its log is in PostgreSQL: no NUL there."""
    production.set(MAILCTL_HOME=production.folder / ".mailctl")
    if request.param == "rabbitmq":
        url = request.getfixturevalue("rabbit_url")
        production.set(CELERY_BROKER_URL=url)
        broker: Broker = OnRabbit(url)
    else:
        production.set(MAILCTL_DATABASE_URL=request.getfixturevalue("postgres_url"))
        broker = OnRedis(redis)
    with Site(production, redis, smtp_server) as site, closing(broker):
        yield site, broker


def test_no_envelope_stops_a_worker(place: tuple[Site, Broker], is_long: bool, record_property: Any) -> None:
    """Each ends in the log as it should; nothing that it asks for is published, printed or kept in memory."""
    site, broker = place
    waiting = add_reset(site)
    worker = start_hasty_worker(site)
    published = [shape for shape in shapes() if broker.publish(shape)]
    for envelope in broadcasts():
        broker.broadcast(envelope)
    assert broker.publish(canary_of(waiting))
    settle(site, broker, worker, published)
    generated = survive_generated(site, broker, worker, examples=150 if is_long else 5)
    assert states(site)[waiting] in ("pending", "queued")
    assert site.runtime.outbox.content(waiting) is not None
    assert queues(site) == {QUEUE, ELSEWHERE}
    assert broker.left(STOLEN) == 0
    assert broker.left(f"{QUEUE}.unclaimed") > 0
    assert peak_memory(worker) < MEMORY
    lines = worker.output
    assert not [line for line in lines.splitlines() if CONTROL.search(line) or line.startswith("[2026-01-01")]
    assert "Traceback" not in lines
    memory = f"{peak_memory(worker) >> 10} MiB"
    assert worker.stop() == 0
    record_property(PROPERTY, (type(broker).__name__, str(len(published)), str(generated), memory, "lived"))


def start_hasty_worker(site: Site) -> Window:
    """Start a worker that does not keep messages of other apps for a minute before it moves them aside."""
    schedule = json.dumps({"delays": [0.1, 0.1, 0.1]})
    command = (sys.executable, "-m", "tests.foreign_worker", schedule, "2")
    worker = site.terminal.open(*command, name="worker", PYTHONPATH=ROOT)
    worker.wait_until_printed("ready.")
    return worker


def survive_generated(site: Site, broker: Broker, worker: Window, *, examples: int) -> int:
    """Let a worker take messages in which anything may be wrong, and return how many."""
    published: list[Shape] = []

    @settings(
        max_examples=examples,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(damaged_envelopes(), min_size=25, max_size=25))
    def survive(envelopes: list[Envelope]) -> None:
        made = [
            Shape(f"{envelope}", envelope, End.ANY, str(envelope.properties["correlation_id"]))
            for envelope in envelopes
        ]
        taken = [shape for shape in made if broker.publish(shape)]
        settle(site, broker, worker, taken)
        published.extend(taken)

    survive()
    return len(published)


def test_what_cannot_be_recorded_goes_back_to_its_queue(place: tuple[Site, Broker]) -> None:
    """While the log is away neither a message that is refused nor one that has to wait is lost."""
    site, broker = place
    with PostgresServer() as server:
        site.terminal.set(MAILCTL_DATABASE_URL=server.make_database())
        worker = site.start_worker("-c", "2", "-l", "INFO")
        settle(site, broker, worker, [])
        server.stop()
        wanted = ("timelimit, wrong value 0", "eta in an hour", "expired", "protocol 1: eta", "not JSON")
        given = [shape for shape in shapes() if shape.name.endswith(wanted)]
        assert all(broker.publish(shape) for shape in given)
        # RabbitMQ puts a message back to the head of its queue: some go round while others wait.
        worker.wait_until(lambda: worker.output.count(": returned to the broker: ") > len(given))
        server.start()
        settle(site, broker, worker, given)
        assert worker.stop() == 0


def add_reset(site: Site) -> str:
    """Record a reset that waits on a queue without a worker, and return its id."""
    user = make_user(email="zoe@example.com", username="zoe")
    content = make_content(RESET, user, origins=site.runtime.link_origins)
    now = datetime.now(UTC)
    [draft] = make_drafts(EmailRequest(kind=RESET), [content], queue=ELSEWHERE, now=now)
    return site.runtime.outbox.add([draft], due_at=now).id


def canary_of(email_id: str) -> Shape:
    return Shape("canary", whole("mailctl.canary", {"email_id": email_id}), End.NOT_OURS)


def settle(site: Site, broker: Broker, worker: Window, published: Sequence[Shape]) -> None:
    """Wait until all have ended as they should, and both pool processes send what comes after them."""
    wanted = {shape.id: shape for shape in published if shape.id and shape.end is not End.NOT_OURS}
    last = [Shape(f"last {n}", whole(), End.SENT, str(uuid.uuid4())) for n in range(4)]
    for shape in last:
        shape.envelope.headers["id"] = shape.id
        assert broker.publish(shape)
        wanted[shape.id] = shape

    def wrong() -> dict[str, str]:
        found = states(site)
        return {
            shape.name: f"{found.get(task_id)} instead of {shape.end.value}"
            for task_id, shape in wanted.items()
            if not is_end(found.get(task_id), shape.end)
        }

    try:
        wait_until(lambda: not broker.left() and not wrong(), worker, site, patience=400)
    except (AssertionError, pytest.fail.Exception):
        found = json.dumps(wrong(), indent=1)
        pytest.fail(f"{len(wrong())} wrong: {found}\n{broker.left()} left\n{worker.output[-5000:]}")
    assert worker.process.poll() is None
    unexpected = states(site).keys() & {shape.id for shape in published if shape.end is End.NOT_OURS}
    assert not unexpected


def is_end(state: str | None, end: End) -> bool:
    if end is End.ANY:
        return state in ("sent", "failed", "expired", "pending")
    if end is End.RECORDED:
        return state in ("sent", "failed")
    return state == ENDS[end]


def states(site: Site) -> dict[str, str]:
    with site.runtime.engine.connect() as connection:
        return {row.id: row.state for row in connection.execute(select(emails.c.id, emails.c.state))}


def queues(site: Site) -> set[str]:
    with site.runtime.engine.connect() as connection:
        return set(connection.execute(select(emails.c.queue)).scalars())


def peak_memory(worker: Window) -> int:
    """KiB that the main process has taken at most."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1])
