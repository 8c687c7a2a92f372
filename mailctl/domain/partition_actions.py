"""What can be done about the partitions of a delivery log."""

from __future__ import annotations

from enum import StrEnum


class PartitionAction(StrEnum):
    """What `mailctl db partition` does."""

    #: The log gets partitions, or a conversion to them continues.
    CONVERT = "convert"
    #: It has them; those of the next days are created if they are missing.
    CREATE = "create"
    #: It loses its partitions, or a conversion back continues.
    UNDO = "undo"
    #: An unfinished conversion to the other layout is discarded.
    DISCARD = "discard"
    #: It has no partitions, and should have none.
    NOTHING = "nothing"
