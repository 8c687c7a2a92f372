"""Combinations of tasks, results, profile and broker: each email is sent once, and its state is true.

MAILCTL_FAULTS=long takes all of them.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests.service_own_tasks.conftest import REFUSED_DOMAIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.terminal import Window
    from tests.servers import RedisServer
    from tests.service_own_tasks.conftest import Service

#: The settings of the service for its results.
RESULTS = {
    "kept": {},
    # A message of mailctl asks for a result, whatever the app says.
    "ignored": {"CELERY_TASK_IGNORE_RESULT": "True"},
    "none": {"CELERY_RESULT_BACKEND": "disabled://"},
    "expired": {"CELERY_RESULT_EXPIRES": "1"},
    "rpc": {"CELERY_RESULT_BACKEND": "rpc://"},
}
#: The state, the reason code and the cause of an email.
Answer = tuple[str, str | None, str]
#: What a result tells: that a task returned True proves nothing, and that it returned False is a failure.
TOLD: tuple[Answer, Answer] = (
    ("unconfirmed", "own_task_unconfirmed", "unconfirmed"),
    ("failed", "own_task_failed", "own_task_failed"),
)
#: Without a result, nobody knows.
SILENT: tuple[Answer, Answer] = (("held", "own_task_unknown", "held"),) * 2
#: Tasks of mailctl, and the recorder in the service's own tasks, have seen the replies of the mail server.
SEEN: tuple[Answer, Answer] = (("sent", None, "accepted"), ("failed", "refused", "recipient_refused"))


@dataclass(frozen=True)
class Cell:
    """One combination."""

    tasks: str
    results: str
    debug: bool
    broker: str

    @property
    def expected(self) -> tuple[Answer, Answer]:
        """What mailctl has to say of the accepted and of the refused email."""
        if self.tasks != "kept":
            return SEEN
        return TOLD if self.results in ("kept", "ignored") else SILENT

    @property
    def pairs(self) -> frozenset[object]:
        """Any two of its values, with their columns."""
        return frozenset(combinations(asdict(self).items(), 2))

    def __str__(self) -> str:
        return f"{self.tasks}-{self.results}-debug={self.debug}-{self.broker}"


BROKERS = ("redis", "rabbitmq")
ALL_CELLS = [
    Cell(*cell) for cell in product(("kept", "removed", "recorded"), RESULTS, (True, False), BROKERS)
]


def chosen_cells() -> list[Cell]:
    """Return the cells of production with own tasks, and others until any two values have met."""
    chosen = [cell for cell in ALL_CELLS if cell.tasks == "kept" and not cell.debug]
    missing = {pair for cell in ALL_CELLS for pair in cell.pairs}.difference(*(cell.pairs for cell in chosen))
    while missing:
        chosen.append(max(ALL_CELLS, key=lambda cell: len(cell.pairs & missing)))
        missing -= chosen[-1].pairs
    return chosen


CELLS = ALL_CELLS if os.environ.get("MAILCTL_FAULTS") == "long" else chosen_cells()


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_each_email_is_sent_once_and_its_state_is_true(
    cell: Cell,
    service: Service,
    redis_server: RedisServer,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    """The service's own worker works off what mailctl published; then a worker of mailctl looks at it.

    Without proof that the service's tasks did not run, that worker publishes nothing again.
    """
    redis_url = str(request.getfixturevalue("redis_url"))
    broker_url = redis_url if cell.broker == "redis" else str(request.getfixturevalue("rabbit_url"))
    service.set(
        DEBUG=cell.debug,
        SERVICE_TASKS=cell.tasks,
        CELERY_BROKER_URL=broker_url,
        **({"CELERY_RESULT_BACKEND": redis_url} | RESULTS[cell.results]),
    )
    good, bad = new_addresses()
    own = service.own_worker() if cell.tasks != "removed" else None
    ids = service.send(good, bad)
    if own is not None:
        work_off(own, ids)
    if cell.results == "expired":
        wait_until_expired(redis_server)
    service.drain()
    note(str(cell), service, good, bad, ids, record_property, cell.expected)


def use_broker(service: Service, request: pytest.FixtureRequest, *, broker: str, results: str) -> None:
    """Configure a service in production with a broker, and results of a kind in Redis."""
    redis_url = str(request.getfixturevalue("redis_url"))
    broker_url = redis_url if broker == "redis" else str(request.getfixturevalue("rabbit_url"))
    service.set(
        DEBUG=False,
        CELERY_BROKER_URL=broker_url,
        **({"CELERY_RESULT_BACKEND": redis_url} | RESULTS[results]),
    )


@pytest.mark.parametrize("results", ["kept", "none"])
@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_a_worker_of_mailctl_sees_what_own_tasks_do(
    broker: str,
    results: str,
    service: Service,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    """Whatever becomes of the results: it records the replies of the mail server."""
    use_broker(service, request, broker=broker, results=results)
    good, bad = new_addresses()
    ids = service.send(good, bad)
    service.drain()
    service.drain()
    note(f"kept, recorded-{results}-debug=False-{broker}", service, good, bad, ids, record_property, SEEN)


@pytest.mark.parametrize(("broker", "results"), [("redis", "kept"), ("rabbitmq", "none")])
def test_without_the_app_nothing_is_sent_again(
    broker: str,
    results: str,
    service: Service,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    """mailctl does not know then that the service's tasks have its emails; their results tell, or nobody."""
    use_broker(service, request, broker=broker, results=results)
    service.set(MAILCTL_APP="")
    good, bad = new_addresses()
    own = service.own_worker()
    ids = service.send(good, bad)
    work_off(own, ids)
    service.drain()
    service.drain()
    expected = TOLD if results == "kept" else SILENT
    note(f"kept, no app-{results}-debug=False-{broker}", service, good, bad, ids, record_property, expected)


def test_what_the_broker_lost_is_sent_although_no_worker_had_the_log(
    service: Service, redis_url: str, redis_server: RedisServer
) -> None:
    """It was published in full, and the broker has lost everything: no other worker can have it."""
    service.set(DEBUG=False, MAILCTL_APP="", CELERY_BROKER_URL=redis_url, CELERY_RESULT_BACKEND=redis_url)
    [address, _] = new_addresses()
    ids = service.send(address)
    with redis_server.client() as client:
        client.flushall()
    service.drain()
    [(found, _)] = asked(service, ids)
    assert (found["state"], service.accepted(address)) == ("sent", 1)


@pytest.mark.parametrize(
    ("tasks", "state"), [("kept", "unconfirmed"), ("recorded", "unconfirmed"), ("removed", "captured")]
)
def test_a_service_whose_email_is_disabled_is_never_said_to_have_sent(
    tasks: str,
    state: str,
    service: Service,
    redis_url: str,
    record_property: Callable[[str, object], None],
) -> None:
    """Its tasks return True then, as if they had sent the email; mailctl's own write it to a file."""
    broker = {"CELERY_BROKER_URL": redis_url, "CELERY_RESULT_BACKEND": redis_url}
    service.set(DEBUG=False, SERVICE_TASKS=tasks, EMAIL_ENABLED="False", **broker)
    [address, _] = new_addresses()
    own = service.own_worker() if tasks != "removed" else None
    ids = service.send(address)
    if own is not None:
        work_off(own, ids)
    service.drain()
    [(found, why)] = asked(service, ids)
    cause = why["causes"][0]["cause"]
    name = f"{tasks}, EMAIL_ENABLED=False-kept-debug=False-redis"
    record_property("own tasks", (name, f"{service.accepted(address)}", found["state"], cause))
    assert (found["state"], cause, service.accepted(address)) == (state, state, 0)


@pytest.mark.parametrize("tasks", ["kept", "removed"])
@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_with_a_memory_broker_each_email_is_sent_once(
    tasks: str, pool: str, service: Service, record_property: Callable[[str, object], None]
) -> None:
    """Only a worker of mailctl gets such emails: it ends when none is left, and the next sends none again.

    It records what the mail server replied to the service's own tasks, also in the children of a pool.
    """
    service.set(DEBUG=True, SERVICE_TASKS=tasks)
    good, bad = new_addresses()
    ids = service.send(good, bad)
    service.drain(pool)
    service.drain(pool)
    note(f"{tasks}-{pool}-debug=True-memory", service, good, bad, ids, record_property, SEEN)


def new_addresses() -> tuple[str, str]:
    """Return an address that the mail server accepts, and one that it refuses."""
    return f"{uuid4().hex}@accepted.example", f"{uuid4().hex}@{REFUSED_DOMAIN}"


def note(
    name: str,
    service: Service,
    good: str,
    bad: str,
    ids: list[str],
    record_property: Callable[[str, object], None],
    expected: tuple[Answer, Answer],
) -> None:
    """Note what became of both emails in the table, and compare it with what has to become of them."""
    answers = [answer(*found) for found in asked(service, ids)]
    figures = (service.accepted(good), service.accepted(bad), service.refused(bad))
    state, why = (" / ".join(str(each[place]) for each in answers) for place in (0, 2))
    record_property("own tasks", (name, f"{figures[0]}", state, why))
    assert figures == (1, 0, 1)
    assert tuple(answers) == expected


def work_off(worker: Window, ids: list[str]) -> None:
    """Wait until the service's own worker has worked off some emails, and stop it."""
    worker.wait_until(lambda: all(f"[{task_id}] succeeded" in worker.output for task_id in ids))
    worker.stop()


def wait_until_expired(server: RedisServer) -> None:
    """Wait until no result is left."""
    with server.client() as client:
        while client.keys("celery-task-meta-*"):
            time.sleep(0.05)


def asked(service: Service, ids: list[str]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return what `status` and `why` say of each email."""
    found = service.run(*((command, task_id) for task_id in ids for command in ("status", "why")))
    objects = [each["objects"][0] for each in found]
    return list(zip(objects[::2], objects[1::2], strict=True))


def answer(status: dict[str, Any], why: dict[str, Any]) -> Answer:
    """Return the state, the reason code and the first cause; only a sent email has a time for that."""
    assert status["state"] == why["state"]
    assert (status["sent_at"] is None) is (status["state"] != "sent")
    return status["state"], status["reason_code"], why["causes"][0]["cause"]
