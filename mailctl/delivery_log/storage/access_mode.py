"""How a delivery log is opened: who may create it, who may change it, who only reads."""

from __future__ import annotations

from enum import StrEnum


class AccessMode(StrEnum):
    """What opening a delivery log may do to it."""

    CREATE = "create"  #: it is created where there is none
    ON_WRITE = "on write"  #: the first write creates it where there is none; what is refused writes nothing
    UPDATE = "update"  #: it must exist
    READ = "read"  #: it must exist, and nothing is written to it
    OPTIONAL = "optional"  #: as READ, but where there is none, an empty one in memory stands in
