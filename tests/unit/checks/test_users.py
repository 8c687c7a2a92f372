"""Checks of the user directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from mailctl.checks.users import check_users
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.unit.checks.samples import FAIL, OK, SKIP, WARN, by_name, execute, production

if TYPE_CHECKING:
    from pathlib import Path

    from mailctl.checks.finding import Finding


def check(settings: Settings) -> dict[str, Finding]:
    """Return the findings by their names, without a delivery log."""
    return by_name(check_users(settings, None, offline=True))


def test_development_has_demo_users() -> None:
    """They are created with the delivery log."""
    assert check(Settings())["directory"].status is SKIP
    parts = Runtime(Settings())
    found = by_name(check_users(Settings(), parts.engine, offline=True))
    parts.close()
    assert found["directory"].detail.endswith("3 users")


def test_nothing_is_said_of_users_in_a_log_that_was_not_read() -> None:
    """It may have thousands."""
    settings = Settings(mailctl_database_url=SecretStr("postgresql://u@db.example/log"))
    detail = check(settings)["directory"].detail
    assert "demo" not in detail
    assert "was not read" in detail


def test_a_database_that_is_not_named_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """In every profile; and there are no demo users."""
    monkeypatch.setenv("POSTGRES_HOST", "db")
    for settings in (Settings(), production()):
        found = check(settings)
        assert (found["DATABASE_URL"].status, "POSTGRES_HOST" in found["DATABASE_URL"].detail) == (WARN, True)
        assert "demo" not in found["directory"].detail


def test_production_without_the_services_database_is_a_warning() -> None:
    """No user would be found."""
    assert check(production())["DATABASE_URL"].status is WARN


def test_the_users_of_the_service_are_found(tmp_path: Path) -> None:
    """By their table."""
    execute(tmp_path / "shop.db", "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, username TEXT)")
    found = check(production(database_url=SecretStr(f"sqlite+aiosqlite:///{tmp_path}/shop.db")))
    assert found["directory"].status is OK
    assert "table users" in found["directory"].detail
    assert found["mailable"].status is OK


def test_a_missing_database_is_a_failure(tmp_path: Path) -> None:
    """It is not created, and nothing else is asked."""
    found = check(production(database_url=SecretStr(f"sqlite:///{tmp_path}/shop.db")))
    assert found["directory"].status is FAIL
    assert "mailable" not in found
    assert not (tmp_path / "shop.db").exists()


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+asyncpg"])
def test_offline_no_database_server_is_asked(scheme: str) -> None:
    """It would be on the network."""
    found = check(production(database_url=SecretStr(f"{scheme}://db.example.org/shop")))
    assert (found["directory"].status, found["directory"].detail) == (SKIP, "offline")
