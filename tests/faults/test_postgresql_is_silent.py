"""PostgreSQL is there and says nothing: stopped, or behind a network that drops what it carries."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from mailctl.errors import LogUnavailable
from tests.servers import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    from tests.faults.conftest import Checker
    from tests.faults.site import Site
    from tests.servers import PostgresServer

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(900),
    pytest.mark.parametrize("site", ["sqlite"], indirect=True),
]

if TYPE_CHECKING:
    Silence: TypeAlias = Callable[[], None]


@contextmanager
def stopped(site: Site, postgres: PostgresServer) -> Iterator[tuple[Silence, Silence]]:
    """Yield what stops the server's processes, and what lets them go on."""
    site.terminal.set(MAILCTL_DATABASE_URL=postgres.make_database())
    try:
        yield postgres.freeze, postgres.thaw
    finally:
        postgres.thaw()


@contextmanager
def dropped(site: Site, postgres: PostgresServer) -> Iterator[tuple[Silence, Silence]]:
    """Yield what makes the network drop everything, and a firewall that then resets the connections."""
    url = postgres.make_database()
    with Proxy(postgres.port) as network:
        site.terminal.set(MAILCTL_DATABASE_URL=url.replace(str(postgres.port), str(network.port)))
        yield network.silence, network.reset
        network.reset()
        site.close_runtime()


@pytest.mark.usefixtures("any_broker")
@pytest.mark.parametrize("trouble", [stopped, dropped])
def test_postgresql_says_nothing(
    site: Site, check: Checker, postgres: PostgresServer, is_long: bool, trouble: Callable[..., object]
) -> None:
    """Calls, relay and tasks give up within their bounds, say so, and go on by themselves."""
    with trouble(site, postgres) as (silence, end_silence):  # type: ignore[attr-defined]
        worker = site.start_worker("-c", "2")
        site.enqueue(300 if is_long else 40)
        site.wait_until_finished(5)
        silence()
        with pytest.raises(LogUnavailable):
            site.call(1)
        worker.wait_until(lambda: relay_has_given_up(worker.output))
        time.sleep(60 if is_long else 0)
        end_silence()
        site.enqueue(10)
        site.repaired()
        check()
        assert worker.process.poll() is None
        assert worker.stop() == 0


def test_a_worker_ends_while_postgresql_says_nothing(
    site: Site, check: Checker, postgres: PostgresServer
) -> None:
    """An orderly end does not wait for the delivery log."""
    with stopped(site, postgres) as (silence, _):
        worker = site.start_worker("-c", "1")
        site.call(3)
        site.wait_until_finished(3)
        silence()
        assert worker.stop() == 0
    site.repaired()
    check()


def relay_has_given_up(output: str) -> bool:
    """Whether the relay has said that the delivery log did not answer; tasks name their email first."""
    return any("] the delivery log at" in line and "cannot be used" in line for line in output.splitlines())
