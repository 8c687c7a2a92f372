"""The watch over the delivery log: another one at its address, such as a restored copy, is noticed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mailctl.delivery_log.process_identity import LogMark, read_log_mark

if TYPE_CHECKING:
    from mailctl.runtime import Runtime

_log = logging.getLogger("mailctl.relay")


class LogWatch:
    """Notices when another delivery log takes the place of the one that a worker has used.

    SQLite's connections notice a replaced file themselves; a database server does not tell.

    Args:
        runtime: the parts of this process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._mark: LogMark | None = None

    def has_changed(self) -> bool:
        """Return whether the log is another one than at the last call, and if so log that.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        before, self._mark = self._mark, read_log_mark(self._runtime.engine)
        if before is None or before == self._mark:
            return False
        _log.error(
            "the delivery log at %s was replaced by %s, which is used from now on",
            self._runtime.masked_log_url,
            "a copy of it" if before.id == self._mark.id else "another one",
        )
        return True
