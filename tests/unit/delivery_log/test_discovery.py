"""Discovery of other logs: which folders are searched."""

from __future__ import annotations

from pathlib import Path

from mailctl.delivery_log.discovery import find_homes, find_homes_with_email
from mailctl.delivery_log.storage.engine import open_engine, writing
from mailctl.delivery_log.storage.tables import metadata
from mailctl.delivery_log.storage.urls import sqlite_url
from tests.unit.delivery_log.conftest import Log

HOME = Path(".mailctl")


def make_log(folder: Path) -> str:
    """Make a log with one email in a folder; return its id."""
    (folder / HOME).mkdir(parents=True)
    engine = open_engine(sqlite_url(folder / HOME / "mailctl.db"), setting="X")
    with writing(engine) as connection:
        metadata.create_all(connection)
    email_id = Log(engine).add()
    engine.dispose()
    return email_id


def test_logs_above_beside_and_below_are_found(tmp_path: Path) -> None:
    """By the id of an email, or a prefix of it; the own one is not searched."""
    here = tmp_path / "shop" / "web"
    ids = {
        folder: make_log(folder) for folder in (tmp_path / "shop", here, here / "src", here.parent / "api")
    }
    for folder in (tmp_path / "shop", here / "src", here.parent / "api"):
        assert find_homes_with_email(ids[folder][:8], around=here, home=HOME) == (folder / HOME,)
    assert find_homes_with_email(ids[here], around=here, home=HOME) == ()
    assert here / HOME in find_homes(here, home=HOME)


def test_other_files_are_no_logs(tmp_path: Path) -> None:
    """Neither a file of another program nor one that is not there; none is created."""
    (tmp_path / "other" / HOME).mkdir(parents=True)
    (tmp_path / "other" / HOME / "mailctl.db").write_text("no database")
    here = tmp_path / "here"
    here.mkdir()
    assert find_homes(here, home=HOME) == ()
    assert not (here / HOME).exists()
