"""Who else could have written a file, or leads it elsewhere."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def find_foreign_writer(path: Path) -> str:
    """Return which other user could have written a file, as a clause; "" if none but root could."""
    if not hasattr(os, "geteuid"):
        return ""  # no such permissions on this system
    for place, what in ((path, "the file"), (path.absolute().parent, "its folder")):
        found = place.stat()
        if found.st_uid not in _trusted_users():
            return f"{what} belongs to another user (uid {found.st_uid})"
        if found.st_mode & stat.S_IWOTH:
            return f"every user can write to {what}"
        if found.st_mode & stat.S_IWGRP and found.st_gid not in (0, os.getegid()):
            return f"other users can write to {what} (gid {found.st_gid})"
    return ""


def is_link_of_stranger(path: Path) -> bool:
    """Whether another user leads a path elsewhere by a symbolic link; False if there is nothing."""
    try:
        found = path.lstat()
    except OSError:
        return False
    is_link = stat.S_ISLNK(found.st_mode)
    return is_link and hasattr(os, "geteuid") and found.st_uid not in _trusted_users()


def _trusted_users() -> set[int]:
    """Return root, the user of this process and, if root runs it by sudo, the user who does that."""
    caller = os.environ.get("SUDO_UID", "")
    is_sudo = os.geteuid() == 0 and caller.isdecimal()
    return {0, os.geteuid(), *([int(caller)] if is_sudo else [])}
