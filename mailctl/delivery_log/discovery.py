"""Other delivery logs on this host, in folders around the working directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from mailctl.delivery_log.storage.engine import open_engine, reading, sqlite_url
from mailctl.delivery_log.storage.tables import emails
from mailctl.errors import LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Folders that are looked into: an operator waits for this.
_MAX_FOLDERS = 200


def find_homes_with_email(email_id: str, *, around: Path, home: Path) -> tuple[Path, ...]:
    """Return the homes in the folders around one whose log has an email; nothing is made or changed.

    Args:
        email_id: the id, or the start of it.
        around: the folder that one stands in.
        home: the home's place in its folder; the one in `around` itself is not looked into.
    """
    homes = (folder / home for folder in _folders(around) if folder != around)
    return tuple(found for found in homes if _contains_email(found / "mailctl.db", email_id))


def find_homes(around: Path, *, home: Path) -> tuple[Path, ...]:
    """Return the homes with a delivery log in a folder and those around it; nothing is made or changed.

    Args:
        around: the folder.
        home: a home's place in its folder.
    """
    homes = (folder / home for folder in dict.fromkeys([around, *_folders(around)]))
    return tuple(found for found in homes if _contains_email(found / "mailctl.db"))


def _folders(around: Path) -> list[Path]:
    """Return the folders above, beside and below."""
    found = dict.fromkeys([*around.parents, *_subfolders(around), *_subfolders(around.parent)])
    return list(found)[:_MAX_FOLDERS]


def _subfolders(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return  # one that this user may not read


def _contains_email(path: Path, email_id: str = "") -> bool:
    """Whether a file is a delivery log with an email whose id begins so."""
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
        return False  # a file of another program, or of another version
    finally:
        engine.dispose()
