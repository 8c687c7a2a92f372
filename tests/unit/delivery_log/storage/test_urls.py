"""URLs of databases: for engines, and for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy.engine import make_url

from mailctl.delivery_log.storage import sqlite
from mailctl.delivery_log.storage.urls import mask_url, parse_url, sqlite_url
from mailctl.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hunter2@host/db",
        "postgresql://user@host/db?password=hunter2",
        "postgresql://user@host/db?sslpassword=hunter2",
    ],
)
def test_a_masked_url_has_no_secret(url: str) -> None:
    """Wherever it stands."""
    masked = mask_url(make_url(url))
    assert "hunter2" not in masked
    assert "host/db" in masked


def test_what_is_no_url_is_refused_with_its_setting() -> None:
    """The user has to know which one to correct."""
    with pytest.raises(ConfigurationError, match="MAILCTL_DATABASE_URL"):
        parse_url("no url", setting="MAILCTL_DATABASE_URL")


def test_a_file_of_any_name_has_a_url(tmp_path: Path) -> None:
    """Also with characters that separate the parts of one."""
    path = tmp_path / "a?b#c%d.db"
    assert sqlite.sqlite_path(sqlite_url(path)) == path
    assert sqlite.is_absent(sqlite_url(path))
