"""Takes mail from a Maildir: new messages are read, and then marked as seen."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mailctl.errors import ConfigurationError
from mailctl.feedback.received_mail import MAX_OCTETS

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: Seconds between two looks.
_POLL_SECONDS = 1.0
#: The flag of a message that was read.
_SEEN = ":2,S"


class MaildirSource:
    """A Maildir into which a mail server delivers.

    Args:
        folder: the Maildir, which contains `new` and `cur`.
    """

    def __init__(self, folder: Path) -> None:
        self._new, self._cur = folder / "new", folder / "cur"
        self.name = "maildir"
        if not self._new.is_dir() or not self._cur.is_dir():
            raise ConfigurationError(
                f"MAILCTL_FEEDBACK_MAILDIR {folder} is no Maildir.",
                fix="Name a folder with new and cur in it.",
            )

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
            for path in self._new_messages():
                if stopped.is_set():
                    return
                self._take_one(path, take)
            if once or stopped.wait(_POLL_SECONDS):
                return

    def _new_messages(self) -> Iterator[Path]:
        with os.scandir(self._new) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
        return (self._new / name for name in names)

    def _take_one(self, path: Path, take: Callable[[bytes], object]) -> None:
        try:
            # A link could lead to any file that this process may read.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return  # another process was quicker, or it is no message
        with open(descriptor, "rb") as message:  # noqa: PTH123 - a descriptor, not a path
            data = message.read(MAX_OCTETS + 1)
        take(data)
        path.rename(self._cur / (path.name.partition(":")[0] + _SEEN))
