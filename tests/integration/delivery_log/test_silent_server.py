"""A server that falls silent during a transaction, while nobody waits for a certain answer."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from typing import TypeAlias

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text

from mailctl.delivery_log.storage.engine import limit_transactions, open_engine, reading, writing
from mailctl.delivery_log.storage.urls import parse_url
from mailctl.errors import LogUnavailable

Transaction: TypeAlias = Callable[[Engine], AbstractContextManager[Connection]]


@pytest.mark.parametrize("transaction", [reading, writing])
def test_a_process_that_runs_for_long_gives_up_a_transaction(
    postgres_url: str, transaction: Transaction
) -> None:
    """The connection is closed, and the next transaction works on another."""
    engine = open_engine(parse_url(postgres_url, setting="X"), setting="X")
    limit_transactions(engine, seconds=0.3)
    with pytest.raises(LogUnavailable, match="did not answer in time"), transaction(engine) as connection:
        connection.execute(text("SELECT pg_sleep(3600)"))
    with transaction(engine) as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
        # Telling the server would cost a round trip for each transaction.
        assert connection.execute(text("SHOW statement_timeout")).scalar() == "0"
    engine.dispose()


def test_what_a_suspended_process_has_locked_is_free_again(postgres_url: str) -> None:
    """A host that sleeps in the middle of a transaction keeps its rows from nobody for long."""
    sleeper = open_engine(parse_url(postgres_url, setting="X"), setting="X")
    limit_transactions(sleeper, seconds=0.5)
    lock = "SELECT id FROM parcels FOR UPDATE"
    found = []

    def sleep_in_a_transaction() -> None:
        with writing(sleeper) as suspended:
            suspended.execute(text(lock))
            other.execute("SET lock_timeout = '60s'")
            found.extend(other.execute(lock).fetchall())

    with closing(psycopg.connect(postgres_url, autocommit=True)) as other:
        other.execute("CREATE TABLE parcels (id integer PRIMARY KEY)")
        other.execute("INSERT INTO parcels VALUES (1)")
        with pytest.raises(LogUnavailable):
            sleep_in_a_transaction()
    assert found == [(1,)]
    sleeper.dispose()


def test_a_server_that_accepts_connections_and_says_nothing_is_called_silent() -> None:
    """Not by the words of its driver, which leave open what has timed out."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"postgresql://app@127.0.0.1:{server.getsockname()[1]}/log?connect_timeout=2"
        engine = open_engine(parse_url(url, setting="X"), setting="X")
        with (
            pytest.raises(LogUnavailable, match=r"cannot be used: it did not answer in time\."),
            reading(engine),
        ):
            pass
        engine.dispose()
