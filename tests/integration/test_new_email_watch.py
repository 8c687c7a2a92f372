"""The watch over new emails, on logs in PostgreSQL: whoever leaves emails to relays notifies them."""

from __future__ import annotations

import shutil
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from mailctl.delivery_log.publications import Publications
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.delivery_log.storage.engine import open_engine
from mailctl.delivery_log.storage.urls import parse_url
from mailctl.domain.catalog import WELCOME
from mailctl.domain.recipient_list import RecipientRow
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.campaign import CampaignRecorder
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from mailctl.worker.new_email_watch import NewEmailWatch
from tests.servers import PgBouncer, PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

#: Longer than any test may take: only what is awaited ends such a wait.
FOR_EVER = 3600.0


def never_asked() -> bool:
    """Fail: a server tells by itself."""
    raise AssertionError


@contextmanager
def watched(url: str) -> Iterator[tuple[Engine, NewEmailWatch, threading.Event]]:
    """Yield the engine of a log, a watch on it, and what stops the watch."""
    engine, stopped = open_engine(parse_url(url, setting="X"), setting="X"), threading.Event()
    watch = NewEmailWatch(engine, stopped=stopped, has_new=never_asked)
    yield engine, watch, stopped
    watch.close()
    engine.dispose()


def listeners(url: str) -> int:
    """Return how many connections listen on a database."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%' AND datname = %s"
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        row = connection.execute(query, [connection.info.dbname]).fetchone()
    return row[0] if row else 0


def test_a_notification_ends_the_wait(postgres_url: str) -> None:
    """Also one that came before the wait; then the watch waits for the next one."""
    with watched(postgres_url) as (engine, watch, _):
        assert watch.start()
        Publications(engine).wake_relays()
        watch.wait(FOR_EVER)
        waiting = threading.Thread(target=watch.wait, args=(FOR_EVER,))
        waiting.start()
        Publications(engine).wake_relays()
        waiting.join()
        assert watch.start()
        assert listeners(postgres_url) == 1


def test_emails_of_a_campaign_end_the_wait(tmp_path: Path, postgres_url: str) -> None:
    """They are always left to relays; a campaign that is recorded again has no new ones."""
    settings = Settings(mailctl_home=tmp_path, mailctl_database_url=postgres_url)
    request = EmailRequest(campaign="spring", kind=WELCOME)
    rows = [RecipientRow(line=1, email="ada@example.com")]
    with (
        closing(Runtime(settings, access_mode=AccessMode.CREATE)) as runtime,
        watched(postgres_url) as (_, watch, _),
    ):
        assert watch.start()
        for expected in (True, False):
            for _ in CampaignRecorder(runtime, request).record(rows):
                pass
            assert watch.wait(FOR_EVER if expected else 0.001) is expected


def test_a_relay_that_ends_need_not_be_notified(postgres_url: str) -> None:
    """It closes its connection, too."""
    with watched(postgres_url) as (_, watch, stopped):
        assert watch.start()
        waiting = threading.Thread(target=watch.wait, args=(FOR_EVER,))
        waiting.start()
        stopped.set()
        waiting.join()
    assert listeners(postgres_url) == 0


def test_a_lost_connection_is_opened_again(postgres_url: str) -> None:
    """Until then the watch waits for the time alone, and so for the next tick of its relay."""
    end = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE query LIKE 'LISTEN%' AND datname = current_database()"
    )
    with watched(postgres_url) as (engine, watch, _):
        assert watch.start()
        with closing(psycopg.connect(postgres_url, autocommit=True)) as connection:
            connection.execute(end)
        while watch._listener.is_open:
            watch.wait(0.05)
        assert watch.start()
        Publications(engine).wake_relays()
        watch.wait(FOR_EVER)


@pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="pgbouncer is not installed")
def test_behind_pgbouncer_it_does_not_listen(postgres_server: PostgresServer, postgres_url: str) -> None:
    """Another client would get what is notified; emails are then published by whoever records them."""
    with PgBouncer(postgres_server.port) as bouncer, watched(bouncer.through(postgres_url)) as (_, watch, _):
        assert not watch.start()
        watch.wait(0.001)
    assert listeners(postgres_url) == 0
