"""Takes mail from a Maildir: new messages are read, and then marked as seen."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from mailctl.domain.feedback_sources import require_maildir
from mailctl.feedback.received_mail import MAX_OCTETS
from mailctl.security.address_masking import masking_logger

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from pathlib import Path

_log = masking_logger("mailctl.feedback")

#: Seconds between two looks.
_POLL_SECONDS = 1.0
#: The flag of a message that was read.
_SEEN = ":2,S"


class MaildirSource:
    """A Maildir into which a mail server delivers.

    Args:
        folder: the Maildir, which contains `new` and `cur`.

    Raises:
        ConfigurationError: it is no Maildir.
    """

    def __init__(self, folder: Path) -> None:
        self._new, self._cur = folder / "new", folder / "cur"
        self.name = "maildir"
        #: Names of the messages that could not be read when they were tried last, and of those that were
        #: taken and could not be moved: they are not taken again.
        self._unreadable: set[str] = set()
        self._unmovable: set[str] = set()
        require_maildir(folder)

    def run(self, take: Callable[[bytes], object], *, stopped: threading.Event, once: bool) -> None:
        """Take new messages until it is stopped.

        Args:
            take: records what a message says; if it raises, the message stays new.
            stopped: set when the process ends.
            once: whether to return when there is no new message.

        Raises:
            OSError: the folder cannot be read.
        """
        while not stopped.is_set():
            unreadable: set[str] = set()
            for path in self._new_messages():
                if stopped.is_set():
                    return
                if not self._take_one(path, take):
                    unreadable.add(path.name)
            if unreadable - self._unreadable:
                _log.warning(
                    "the source %s cannot read or move %d of its messages", self.name, len(unreadable)
                )
            self._unreadable = unreadable
            if once or stopped.wait(_POLL_SECONDS):
                return

    def _new_messages(self) -> Iterator[Path]:
        with os.scandir(self._new) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
        return (self._new / name for name in names)

    def _take_one(self, path: Path, take: Callable[[bytes], object]) -> bool:
        """Take a message if it is still there; return whether it could be read and moved."""
        if path.name in self._unmovable:
            return False
        try:
            data = _read(path)
        except FileNotFoundError:
            return True  # another process was quicker
        except OSError:
            return False
        if data is None:
            return True
        take(data)
        try:
            path.rename(self._cur / (path.name.partition(":")[0] + _SEEN))
        except FileNotFoundError:
            pass
        except OSError:
            self._unmovable.add(path.name)
            return False
        return True


def _read(path: Path) -> bytes | None:
    """Return the content of a message; None if the path is not a regular file.

    Raises:
        OSError: it cannot be read, or is not there any more.
    """
    # A link could lead to any file that this process may read, and a pipe has no end.
    if not stat.S_ISREG(path.lstat().st_mode):
        return None
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as message:  # noqa: PTH123 - by descriptor
        return message.read(MAX_OCTETS + 1)
