"""Writes messages to files instead of sending them, for `EMAIL_ENABLED=False`."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import re
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mailctl.domain.outcomes import Outcome, OutcomeKind
from mailctl.domain.validation import validate_file_name
from mailctl.settings.file_owners import is_link_of_stranger
from mailctl.smtp.sender import no_fence
from mailctl.timefmt import TimeStyle, format_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.domain.models import Envelope

#: The longest part of the Message-ID in a file name, in characters.
_MAX_NAME_LENGTH = 80
#: Threads that write files.
_FILES_AT_A_TIME = 16
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


class CaptureSender:
    """Writes each message to a file that only the current user may read.

    Args:
        folder: the folder of the files; it is created with the first message.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def capacity(self, _server: str, /) -> int:
        """Return how many files it writes at a time, whatever the mail server."""
        return _FILES_AT_A_TIME

    def count_stuck(self, _server: str, /, *, is_campaign: bool) -> int:  # noqa: ARG002 - as `Sender` has it
        """Return 0: no mail server has any."""
        return 0

    async def send(self, envelope: Envelope, *, fence: Callable[[], None] = no_fence) -> Outcome:
        """Write one message as `<UTC time>-<local part of Message-ID>.eml`.

        Returns:
            The outcome `captured`, with the path of the file.

        Raises:
            OSError: the file cannot be written.
        """
        fence()
        path = await asyncio.to_thread(self._write, envelope)
        return Outcome(kind=OutcomeKind.CAPTURED, captured_file=str(path))

    async def close(self) -> None:
        """Do nothing, because no file stays open."""

    def _write(self, envelope: Envelope) -> Path:
        for folder in (self._folder.parent, self._folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if is_link_of_stranger(folder):  # messages and their links would go there
                raise PermissionError(
                    errno.EPERM, "the folder is a symbolic link that belongs to another user", str(folder)
                )
        handle, name = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".part")  # 0600
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(envelope.data)
            return self._publish(temporary, stem=_stem(envelope.message_id))
        finally:
            temporary.unlink(missing_ok=True)

    def _publish(self, temporary: Path, *, stem: str) -> Path:
        """Move a file to its final name, with a number if the name is taken; a hard link never overwrites."""
        for number in itertools.count(1):
            path = self._folder / validate_file_name(f"{stem}.eml" if number == 1 else f"{stem}-{number}.eml")
            with suppress(FileExistsError):
                path.hardlink_to(temporary)
                return path
        raise AssertionError("count() has no end")


def _stem(message_id: str) -> str:
    local_part = message_id.strip("<> ").partition("@")[0]
    name = _NOT_IN_NAMES.sub("_", local_part)[:_MAX_NAME_LENGTH].strip(".") or "message"
    return f"{format_time(datetime.now(UTC), TimeStyle.FILE_NAME)}-{name}"
