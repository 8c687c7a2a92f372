"""PostgreSQL is locked, silent, read-only or behind a PgBouncer: calls of a web request end, and go on."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import ExitStack, closing, contextmanager, nullcontext
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from mailctl.domain.catalog import WELCOME
from mailctl.domain.factory import make_user
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.background import Dispatcher
from mailctl.errors import LogUnavailable
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.servers import PgBouncer, PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.faults.conftest import Checker
    from tests.faults.site import Site

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

#: More than the threads that wait for the log, and than its connections.
CALLS = 40


@contextmanager
def service(folder: Path, url: str) -> Iterator[Dispatcher]:
    """Yield what a web process records with; its broker reaches nobody."""
    runtime = Runtime(Settings(mailctl_database_url=url, mailctl_home=folder))  # type: ignore[arg-type]
    try:
        yield Dispatcher(runtime)
    finally:
        runtime.close()


def call(dispatcher: Dispatcher, count: int = CALLS) -> Sequence[str | BaseException]:
    """Return what so many calls at the same time return or raise."""

    async def call_all() -> Sequence[str | BaseException]:
        user = make_user(email="ada@example.com", first_name="Ada")
        calls = (dispatcher.record(EmailRequest(kind=WELCOME), [user]) for _ in range(count))
        return await asyncio.gather(*calls, return_exceptions=True)

    return asyncio.run(call_all())


def recorded(dispatcher: Dispatcher) -> int:
    """Return how many emails the log has."""
    return sum(dispatcher.runtime.history.count_by_state().values())


@pytest.mark.parametrize("trouble", ["locked", "silent"])
def test_calls_end_while_nothing_answers(postgres: PostgresServer, tmp_path: Path, trouble: str) -> None:
    """They raise while the trouble lasts, nothing that raised is recorded, and calls work again at once."""
    url = postgres.make_database()
    with service(tmp_path, url) as dispatcher:
        call(dispatcher)
        before = recorded(dispatcher)
        with (
            closing(psycopg.connect(url)) as locker,
            postgres.frozen() if trouble == "silent" else nullcontext(),
        ):
            if trouble == "locked":
                locker.execute("LOCK TABLE mailctl_emails IN ACCESS EXCLUSIVE MODE")
            results = call(dispatcher)
        assert {type(result) for result in results} == {LogUnavailable}
        assert [type(result) for result in call(dispatcher, 1)] == [str]
        assert recorded(dispatcher) == before + 1


def test_a_session_of_the_caller_keeps_its_own_time_limits(postgres: PostgresServer, tmp_path: Path) -> None:
    """A transaction of the service may take as long as the service likes."""
    url = postgres.make_database()
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with ExitStack() as opened:
        opened.callback(engine.dispose)
        dispatcher = opened.enter_context(service(tmp_path, url))
        session = opened.enter_context(Session(engine))
        user = make_user(email="ada@example.com", first_name="Ada")
        dispatcher.record_in(session, EmailRequest(kind=WELCOME), [user])
        for name in ("lock_timeout", "statement_timeout"):
            assert session.execute(text(f"SHOW {name}")).scalar() == "0"


def test_connections_to_a_former_primary_are_discarded(postgres: PostgresServer, tmp_path: Path) -> None:
    """The first call finds out; those after it use new connections, which lead to the new primary."""
    with service(tmp_path, postgres.make_database()) as dispatcher:
        call(dispatcher)
        postgres.become_read_only()
        failed = [result for _ in range(10) for result in call(dispatcher, 1) if not isinstance(result, str)]
    assert [type(error) for error in failed] == [LogUnavailable]


def test_of_several_hosts_the_one_that_writes_is_used(postgres: PostgresServer, tmp_path: Path) -> None:
    """Wherever it stands in the address."""
    with PostgresServer() as standby:
        standby.refuse_all_writes()
        hosts = f"host=127.0.0.1:{standby.port}&host=127.0.0.1:{postgres.port}"
        with service(tmp_path, f"postgresql://postgres@/postgres?{hosts}") as dispatcher:
            assert {type(result) for result in call(dispatcher)} == {str}


@pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="pgbouncer is not installed")
@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_behind_pgbouncer_in_transaction_mode(site: Site, check: Checker, postgres: PostgresServer) -> None:
    """No statement depends on one of an earlier transaction, and no setting stays behind for others."""
    with PgBouncer(postgres.port) as bouncer:
        url = bouncer.through(postgres.make_database())
        site.terminal.set(MAILCTL_DATABASE_URL=url)
        worker = site.start_worker("-c", "2")
        site.call(30)
        site.enqueue_campaign(60)
        dispatcher = Dispatcher(site.runtime)
        results = [*call(dispatcher), *call(dispatcher)]
        assert {type(result) for result in results} == {str}
        site.ids += map(str, results)
        site.repaired()
        check()
        assert not [line for line in worker.output.splitlines() if "ERROR" in line]
        assert shown(url, "statement_timeout", "lock_timeout", "synchronous_commit") == {"0", "on"}


def shown(url: str, *names: str) -> set[str]:
    """Return the values of settings on all connections of the pool."""
    with ExitStack() as opened:
        connections = [
            opened.enter_context(closing(psycopg.connect(url, prepare_threshold=None))) for _ in range(3)
        ]
        found = [one.execute(f"SHOW {name}").fetchone() for one in connections for name in names]  # type: ignore[arg-type]
    return {row[0] for row in found if row}
