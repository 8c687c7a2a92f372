"""A worker under random messages: it lives, each message ends with a reason, and the queue is empty."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from mailctl.delivery_log.storage.tables import emails
from mailctl.domain.states import FINAL_STATES, State
from tests.fuzz.messages import make

if TYPE_CHECKING:
    from tests.faults.site import Site

#: The property of a report that carries a row of the table.
PROPERTY = "fuzz"
pytestmark = pytest.mark.timeout(3600)
QUEUE = "celery"
#: Messages that wait at most: each may be long.
AHEAD = 500


def test_random_messages_harm_no_worker(site: Site, is_long: bool, record_property: Any) -> None:
    """Good ones are sent, bad ones fail with a reason, whatever is in them."""
    count = 10_000 if is_long else 60
    seed = 20261125 if is_long else random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    worker = site.start_worker("-c", "2", "-l", "INFO")
    client = site.redis.client()
    started = time.monotonic()
    messages = [make(chance, number) for number in range(count)]
    for message in messages:
        while client.llen(QUEUE) >= AHEAD:
            time.sleep(0.05)
        client.lpush(QUEUE, message.raw)
    wait_until(lambda: not client.llen(QUEUE) and not client.hlen("unacked"), worker, site, patience=600)
    wait_until(lambda: ended(site) == known(site), worker, site, patience=120)
    seconds = time.monotonic() - started
    states = counts(site)
    good = sum(message.is_good for message in messages)
    record_property(
        PROPERTY,
        (
            site.runtime.engine.dialect.name,
            str(count),
            f"{seconds:.0f}",
            str(states[State.SENT]),
            str(states[State.FAILED]),
            str(states.total() - states[State.SENT] - states[State.FAILED]),
            str(client.llen(QUEUE) + client.hlen("unacked")),
            "alive" if worker.process.poll() is None else "dead",
        ),
    )
    client.close()
    assert worker.process.poll() is None
    assert states.keys() <= {State.SENT, State.FAILED}
    assert states[State.SENT] >= good
    assert not {message.id for message in messages if message.id} - ids(site)
    assert all_have_reasons(site)
    for message in site.smtp.messages:
        assert len(message.recipients) == 1
    recipients = {recipient for message in site.smtp.messages for recipient in message.recipients}
    assert recipients <= addresses(site)


def counts(site: Site) -> Counter[State]:
    return Counter(site.runtime.history.count_by_state())


def known(site: Site) -> int:
    return counts(site).total()


def ended(site: Site) -> int:
    return sum(number for state, number in counts(site).items() if state in FINAL_STATES)


def all_have_reasons(site: Site) -> bool:
    query = select(func.count()).where(emails.c.state == State.FAILED, emails.c.error.is_(None))
    with site.runtime.engine.connect() as connection:
        return connection.execute(query).scalar_one() == 0


def ids(site: Site) -> set[str]:
    with site.runtime.engine.connect() as connection:
        return set(connection.execute(select(emails.c.id)).scalars())


def addresses(site: Site) -> set[str]:
    with site.runtime.engine.connect() as connection:
        return set(connection.execute(select(emails.c.to_address)).scalars())


def wait_until(condition: Any, worker: Any, site: Site, *, patience: float) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert worker.process.poll() is None, worker.output[-3000:]
        if time.monotonic() > deadline:
            pytest.fail(f"{counts(site)}\n{worker.output[-3000:]}")
        time.sleep(0.1)
