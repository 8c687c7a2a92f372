"""Which names speak of a database of the service."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from mailctl.settings import Settings
from mailctl.settings.database_detection import describe_database_signs, find_database_signs

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((f"POSTGRES_{part}", "x") for part in ("HOST", "SERVER", "DB", "USER", "PASSWORD", "PORT")),
        *(("DB_HOST", "db"), ("DATABASE_NAME", "shop"), ("SQLALCHEMY_DATABASE_URI", "sqlite:///shop.db")),
        *(("SHOP_MYSQL_HOST", "db"), ("PGHOST", "db"), ("DJANGO_SETTINGS_MODULE", "config.settings")),
        # Nested settings of pydantic, the image of a tutorial, Elastic Beanstalk, a database without SQL.
        *(
            ("DATABASE__HOST", "db"),
            ("SQL_HOST", "db"),
            ("RDS_HOSTNAME", "db"),
            ("MONGO_URL", "mongodb://db"),
        ),
        *(("STORE", "postgresql+asyncpg://app@db/shop"), ("ORDERS_DSN", "postgres://db/orders")),
    ],
)
def test_names_and_values_that_services_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """In the environment, and in the `.env` file."""
    assert find_database_signs(tmp_path / ".env") == ()
    (tmp_path / ".env").write_text(f"{name}={value}\n")
    assert find_database_signs(tmp_path / ".env") == (name,)
    (tmp_path / ".env").unlink()
    monkeypatch.setenv(name, value)
    assert find_database_signs(tmp_path / ".env") == (name,)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("POSTGRES_HOST", ""), ("REDIS_DB", "0"), ("REDIS_HOST", "redis"), ("DEBUG", "1")),
        *(("MAILCTL_DATABASE_URL", "postgresql://db/mail"), ("CELERY_RESULT_DB_URL", "postgresql://db/c")),
        *(("PGDATA", "/var/lib/postgresql"), ("DATABASE_URL", ""), ("GEOIP_DB", "/usr/share/geoip")),
    ],
)
def test_other_names_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Empty values, settings of mailctl, other programs and other servers."""
    monkeypatch.setenv(name, value)
    assert find_database_signs(tmp_path / ".env") == ()


def test_a_file_that_cannot_be_read_has_none(tmp_path: Path) -> None:
    """Whoever reads the settings from it reports that."""
    (tmp_path / ".env").write_text("POSTGRES_HOST='db\n")
    assert find_database_signs(tmp_path / ".env") == ()


def test_a_known_database_needs_no_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    """DATABASE_URL says where the users are."""
    monkeypatch.setitem(os.environ, "POSTGRES_HOST", "db")
    assert Settings().database_signs == ("POSTGRES_HOST",)
    assert Settings(database_url="sqlite:///shop.db").database_signs == ()  # type: ignore[arg-type]


def test_the_sentence_lists_a_few() -> None:
    """Names only: values may be secret."""
    one, many = describe_database_signs(("A",)), describe_database_signs(("A", "B", "C", "D"))
    assert one.startswith("A is set, so")
    assert many.startswith("A, B, C, … are set, so")
