"""A worker under every remote control message that we know of: it lives, and works as before."""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from tests.acceptance.terminal import PATIENCE
from tests.faults.site import Site
from tests.fuzz.brokers import ANY_KEY, OnRabbit, OnRedis
from tests.fuzz.controls import CANARY, NAME, Control, command, malformed, not_for_mailctl, others
from tests.fuzz.envelopes import QUEUE, STOLEN
from tests.fuzz.test_envelopes import CONTROL, MEMORY, peak_memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.acceptance.terminal import Terminal, Window
    from tests.fuzz.brokers import Broker
    from tests.servers import RedisServer
    from tests.smtp_server import ScriptedSmtpServer

pytestmark = pytest.mark.timeout(600)
WAREHOUSE = Path(__file__).parent.parent / "data" / "warehouse.py"
REFUSED = "refused "
PROCESSES = 2
#: What `celery status`, `celery inspect` and Flower ask.
QUESTIONS: dict[str, dict[str, Any]] = {
    **{name: {} for name in ("ping", "clock", "stats", "report", "active_queues", "revoked", "memsample")},
    **{name: {} for name in ("reserved", "scheduled")},
    "active": {"safe": True},
    "conf": {"with_defaults": False},
    "registered": {"taskinfoitems": ["rate_limit"]},
    "query_task": {"ids": ["no-such-task"]},
}


class Operator:
    """Asks a worker as Celery's own tools do.

    Args:
        url: of the broker.
    """

    def __init__(self, url: str) -> None:
        self._app = Celery("operator", broker=url, set_as_current=False)

    def ask(self, method: str, **arguments: Any) -> Any:
        """Return the answer of the worker."""
        [answer] = self._app.control.broadcast(
            method, arguments=arguments, destination=[NAME], reply=True, timeout=PATIENCE, limit=1
        )
        return answer[NAME]

    def is_answered(self) -> bool:
        """Whether the worker answers soon."""
        return bool(self._app.control.ping(destination=[NAME], timeout=2, limit=1))

    def look(self) -> tuple[list[str], int]:
        """Return the queues that the worker consumes, and the number of its processes."""
        queues = sorted(queue["name"] for queue in self.ask("active_queues"))
        return queues, len(self.ask("stats")["pool"]["processes"])

    def close(self) -> None:
        self._app.close()


@pytest.fixture(params=["redis", "rabbitmq"])
def place(
    request: pytest.FixtureRequest, production: Terminal, redis: RedisServer, smtp_server: ScriptedSmtpServer
) -> Iterator[tuple[Site, Broker, Operator]]:
    """A site in production, and its broker."""
    production.set(MAILCTL_HOME=production.folder / ".mailctl")
    broker: Broker = OnRedis(redis)
    url = redis.url
    if request.param == "rabbitmq":
        url = request.getfixturevalue("rabbit_url")
        production.set(CELERY_BROKER_URL=url)
        broker = OnRabbit(url)
    with Site(production, redis, smtp_server) as site, closing(broker), closing(Operator(url)) as operator:
        yield site, broker, operator


def test_no_control_message_stops_a_worker(place: tuple[Site, Broker, Operator]) -> None:
    """It obeys what reads and a shutdown by its name; it refuses what is malformed or would change it."""
    site, broker, operator = place
    worker = start_worker(site)
    before = operator.look()
    refused = [*malformed(), *not_for_mailctl()]
    survive(refused, broker, operator, worker)
    assert operator.look() == before == (["celery", "mailctl.bulk", "mailctl.groups"], PROCESSES)
    assert all("error" not in (operator.ask(name, **given) or ()) for name, given in QUESTIONS.items())
    assert operator.ask("enable_events") == {"ok": "task events enabled"}
    assert operator.ask("revoke", task_id="x")["error"].startswith("refused: a worker of mailctl does not")
    assert_it_works(site, broker, worker)
    stopped = site.terminal.run("workers", "stop", NAME, "--yes", "--json")
    assert (stopped.code, worker.wait()) == (0, 0), stopped.err


@pytest.mark.parametrize("place", ["rabbitmq"], indirect=True)
def test_a_services_app_keeps_its_commands(place: tuple[Site, Broker, Operator]) -> None:
    """Celery's and its own are obeyed; what is malformed is refused there, too, or refused by the broker."""
    site, broker, operator = place
    site.terminal.set(MAILCTL_APP="warehouse:app")
    site.terminal.environment["WAREHOUSE_BROKER"] = site.terminal.settings_in_force()["CELERY_BROKER_URL"]
    shutil.copy(WAREHOUSE, site.terminal.folder)
    worker = start_worker(site)
    before = operator.look()
    survive(malformed(), broker, operator, worker)
    assert operator.look() == before == (["celery", "mailctl.bulk", "mailctl.groups"], PROCESSES)
    assert operator.ask("warehouse_greet", name="Zoe") == "hello Zoe"
    assert operator.ask("add_consumer", queue="more") == {"ok": "add consumer more"}
    assert operator.ask("cancel_consumer", queue="mailctl.bulk")["ok"]
    assert operator.ask("pool_grow", n=1) == {"ok": "pool will grow"}
    assert operator.ask("revoke", task_id=["a", "b"], terminate=False, signal="SIGTERM")["ok"]
    assert sorted(operator.ask("hello", from_node="x@y", revoked=["c"])["revoked"]) == ["a", "b", "c"]
    worker.wait_until(lambda: operator.look() == (["celery", "mailctl.groups", "more"], PROCESSES + 1))
    operator.ask("add_consumer", queue="torn", exchange=ANY_KEY, exchange_type="direct")
    worker.wait_until_printed("cannot consume from an additional queue (PreconditionFailed)")
    worker.wait_until(operator.is_answered)
    assert operator.look() == (["celery", "mailctl.groups", "more"], PROCESSES + 1)
    broker.broadcast(command("shutdown"))
    assert worker.wait() == 0


def start_worker(site: Site) -> Window:
    """Start a worker that does not keep messages of other apps for a minute before it moves them aside."""
    worker = site.terminal.worker("-c", str(PROCESSES), "-n", NAME, "-l", "INFO")
    site.workers.append(worker)
    return worker


def survive(refused: Sequence[Control], broker: Broker, operator: Operator, worker: Window) -> None:
    """Let a worker take messages that it has to refuse, one line each, and some that are not for it."""
    names = Counter(control.name for control in refused)
    assert set(names.values()) == {1}, names
    lines = 0
    for control in refused:
        broker.broadcast(control.envelope)
        lines += 1
        if lines % 20 == 0:
            await_lines(worker, lines, control)
    await_lines(worker, lines, refused[-1])
    for control in others():
        broker.broadcast(control.envelope)
    assert operator.ask("ping") == {"ok": "pong"}
    output = worker.output
    assert output.count(REFUSED) == lines
    assert not [line for line in output.splitlines() if CONTROL.search(line) or "forged" in line]
    assert not [word for word in (CANARY, "Traceback", "onnection to broker lost") if word in output]
    assert peak_memory(worker) < MEMORY


def await_lines(worker: Window, count: int, control: Control) -> None:
    try:
        worker.wait_until(lambda: worker.output.count(REFUSED) >= count)
    except AssertionError:
        told = worker.output.count(REFUSED)
        pytest.fail(f"up to {control.name!r}: {told} of {count} refused\n{worker.output[-4000:]}")


def assert_it_works(site: Site, broker: Broker, worker: Window) -> None:
    """Check that emails go out, and that nothing but emails is on a queue."""
    site.enqueue(PROCESSES)
    site.wait_until_finished(PROCESSES)
    assert len(site.smtp.messages) == PROCESSES, worker.output[-4000:]
    # The log has the outcome of an email before the broker has its acknowledgement.
    worker.wait_until(lambda: not any(map(broker.left, (QUEUE, STOLEN, f"{QUEUE}.unclaimed"))))
    assert "put messages of other apps back" not in worker.output
