"""Where the check looks for the migrations of a service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, text

from mailctl.checks.migrations import check_migrations
from mailctl.settings import Settings
from tests.unit.checks.samples import OK, SKIP, WARN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from mailctl.checks.finding import Finding


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Engine]:
    """A database that a service migrates with Alembic."""
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
    yield engine
    engine.dispose()


#: What an env.py contains, and what the check says of it.
SOURCES = [
    ("import mailctl.alembic\nconfigure(include_object=mailctl.alembic.include_object)", OK),
    ("from mailctl.alembic import include_object as hook\nconfigure(include_object=hook)", OK),
    ("def keep(name, *_): return not name.startswith('mailctl_')", OK),
    ("import mailctl.alembic", WARN),
    ("# include_object=mailctl.alembic.include_object", WARN),
    ("pass", WARN),
    ("def (", WARN),
]


def check(log: Engine) -> list[Finding]:
    """Return the findings for the working directory."""
    return list(check_migrations(Settings(), log))


def test_a_database_without_migrations_has_no_finding(tmp_path: Path) -> None:
    """It is mailctl's own."""
    engine = create_engine(f"sqlite:///{tmp_path}/mail.db")
    assert check(engine) == []
    engine.dispose()


def test_an_unknown_folder_is_not_checked(log: Engine) -> None:
    """But what is needed is said."""
    [finding] = check(log)
    assert (finding.status, "mailctl.alembic.include_object" in finding.detail) == (SKIP, True)


@pytest.mark.parametrize("ini", ["", "[alembic]\n", "no section\n"])
@pytest.mark.parametrize(("source", "status"), SOURCES)
def test_usual_folders_are_found(log: Engine, tmp_path: Path, ini: str, source: str, status: object) -> None:
    """Also beside an `alembic.ini` that does not name it."""
    (tmp_path / "alembic").mkdir()
    (tmp_path / "alembic" / "env.py").write_text(source)
    if ini:
        (tmp_path / "alembic.ini").write_text(ini)
    assert [finding.status for finding in check(log)] == [status]
