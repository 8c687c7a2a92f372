"""Discovery of other delivery logs in folders near the working directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from mailctl.delivery_log.storage.engine import open_engine, reading
from mailctl.delivery_log.storage.tables import emails
from mailctl.delivery_log.storage.urls import sqlite_url
from mailctl.errors import LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: How many folders are searched at most, because an operator waits for the result.
_MAX_FOLDERS = 200


def find_homes_with_email(email_id: str, *, around: Path, home: Path) -> tuple[Path, ...]:
    """Return the homes near a folder whose log has an email; nothing is created or changed.

    Args:
        email_id: the id, or a prefix of it.
        around: the folder to start from; its own home is not searched.
        home: the path of a home within its folder.
    """
    homes = (folder / home for folder in _folders(around) if folder != around)
    return tuple(found for found in homes if _contains_email(found / "mailctl.db", email_id))


def find_homes(around: Path, *, home: Path) -> tuple[Path, ...]:
    """Return the homes with a delivery log in a folder and near it; nothing is created or changed.

    Args:
        around: the folder to start from.
        home: the path of a home within its folder.
    """
    homes = (folder / home for folder in dict.fromkeys([around, *_folders(around)]))
    return tuple(found for found in homes if _contains_email(found / "mailctl.db"))


def _folders(around: Path) -> list[Path]:
    """Return the parents, the subfolders and the siblings of a folder."""
    found = dict.fromkeys([*around.parents, *_subfolders(around), *_subfolders(around.parent)])
    return list(found)[:_MAX_FOLDERS]


def _subfolders(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return  # this user may not read it


def _contains_email(path: Path, email_id: str = "") -> bool:
    """Whether a file is a delivery log with an email whose id has a prefix."""
    try:
        if not path.is_file():
            return False
    except OSError:
        return False
    engine = open_engine(sqlite_url(path), setting="MAILCTL_HOME", read_only=True)
    query = select(emails.c.id).where(emails.c.id >= email_id, emails.c.id < email_id + "\U0010ffff").limit(1)
    try:
        with reading(engine) as connection:
            return connection.execute(query).first() is not None
    except LogUnavailable:
        return False  # a file of another program, or another schema
    finally:
        engine.dispose()
