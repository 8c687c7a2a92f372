"""What mailctl connects to PostgreSQL with; the faults themselves are in tests/faults."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from mailctl.delivery_log.storage.postgresql import connect_arguments, is_read_only_error, set_up_connection
from mailctl.delivery_log.storage.urls import parse_url


def arguments(url: str, *, is_writer: bool = True) -> dict[str, Any]:
    """Return the arguments for a URL."""
    return connect_arguments(parse_url(url, setting="X"), is_writer=is_writer)


def test_a_dead_connection_is_noticed_within_seconds() -> None:
    """And not after the time-outs of the kernel; no statement is left prepared, as PgBouncer requires."""
    assert arguments("postgresql://h/db") == {
        "connect_timeout": 3,
        "keepalives": 1,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "tcp_user_timeout": 10_000,
        "prepare_threshold": None,
    }


def test_the_options_of_the_url_come_first() -> None:
    """They are not given twice."""
    found = arguments("postgresql://h/db?tcp_user_timeout=500&connect_timeout=9&prepare_threshold=7")
    assert not {"tcp_user_timeout", "connect_timeout"} & found.keys()
    assert found["prepare_threshold"] == 7


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://h/db", None),
        ("postgresql:///db?host=h1,h2", "read-write"),
        ("postgresql:///db?host=h1:5432&host=h2:5432", "read-write"),
        ("postgresql:///db?host=h1,h2&target_session_attrs=any", None),
    ],
)
def test_of_several_hosts_the_primary_is_wanted(url: str, expected: str | None) -> None:
    """Unless the URL says otherwise; the database of users may be a standby."""
    assert arguments(url).get("target_session_attrs") == expected
    assert "target_session_attrs" not in arguments(url, is_writer=False)


def test_a_server_that_refuses_to_write_is_known_by_its_code() -> None:
    """Whether SQLAlchemy has wrapped the error or not."""
    error = psycopg.errors.ReadOnlySqlTransaction("cannot execute INSERT in a read-only transaction")
    assert is_read_only_error(error)
    assert is_read_only_error(OperationalError("INSERT", None, error))
    assert not is_read_only_error(psycopg.OperationalError("read-only"))


def test_a_connection_that_is_lost_when_it_is_asked_is_an_error_of_the_database() -> None:
    """And not of the driver, which nobody would translate."""

    def fail(_: str) -> None:
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    driver: Any = SimpleNamespace(driver_connection=SimpleNamespace(execute=fail))
    connection: Any = SimpleNamespace(connection=driver, info={})
    for _ in range(9):
        set_up_connection(connection, is_repeated=True, idle_seconds=None)
    with pytest.raises(OperationalError, match="closed the connection"):
        set_up_connection(connection, is_repeated=True, idle_seconds=None)
