"""Access modes: whether a delivery log may be created, changed or only read."""

from __future__ import annotations

from enum import StrEnum


class AccessMode(StrEnum):
    """The changes that opening a delivery log may make to it."""

    CREATE = "create"  #: it is created if it does not exist
    ON_WRITE = "on write"  #: the first write creates it if it does not exist
    UPDATE = "update"  #: it must exist
    READ = "read"  #: it must exist, and nothing is written to it
    OPTIONAL = "optional"  #: as READ, but an empty one in memory stands in for one that does not exist
