"""A file that grows, read line by line, across its rotation and across restarts of the program."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, BinaryIO

from mailctl.errors import ConfigurationError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_log = logging.getLogger("mailctl.feedback")

_CHUNK = 65_536
#: Octets at the start of a file that distinguish it from another one.
_HEAD = 512
#: How far `lines_before` goes back, in octets.
_MAX_BEFORE = 64 * 1_048_576


def state_file(home: Path, followed: Path) -> Path:
    """Return the file below MAILCTL_HOME that keeps where the reading of a followed file has ended."""
    digest = hashlib.sha256(str(followed.absolute()).encode("utf-8", "surrogateescape")).hexdigest()
    return home.absolute() / f"tail-log-{digest[:16]}.json"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place between two lines of a file, which its rotation moves to another name."""

    inode: int
    offset: int
    #: A hash of the first octets: a file that was truncated may have grown beyond the offset since.
    head: str = ""


class FollowedFile:
    """A log file that grows, and that its rotation replaces or empties.

    Where reading ended is kept in a file of its own, so that nothing is missed while this program is down.

    Args:
        path: the log file.
        state: the file that keeps where reading ended; None keeps nothing.
        from_start: whether to begin at the start if there is no such file; otherwise at the end.

    Raises:
        InvalidInput: the file cannot be read.
    """

    def __init__(self, path: Path, *, state: Path | None, from_start: bool) -> None:
        self._path, self._state = path, state
        saved = self._saved()
        self._file = (self._open_rotated(saved) if saved else None) or self._open()
        #: The beginning of a line whose end has not been read, and how much of that line is not kept.
        self._rest, self._left_out = b"", 0
        #: The reason, as last logged, why the next file cannot be read.
        self._logged_reason = ""
        self._start = self._seek(saved, from_start=from_start)
        self._head = self._head_before(self._start)

    def _open(self) -> BinaryIO:
        try:
            # Opening a pipe would wait for its other end.
            if self._path.is_fifo():
                raise InvalidInput("FILE", f"{self._path} is a pipe.", fix="Name the file of the log.")
            return self._path.open("rb")
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise InvalidInput(
                "FILE", f"{self._path} cannot be read: {reason}.", fix="Run as a user who may read it."
            ) from None

    def _open_rotated(self, saved: Place) -> BinaryIO | None:
        """Return the file that was read last, under its name after rotation; None if it is not found."""
        with contextlib.suppress(OSError):
            for path in self._path.parent.glob(f"{glob.escape(self._path.name)}?*"):
                if path.stat().st_ino == saved.inode:
                    return path.open("rb")
        return None

    def _seek(self, saved: Place | None, *, from_start: bool) -> int:
        size = self._size()
        if saved is not None:
            is_same = saved.inode == self._inode() and saved.offset <= size
            is_same = is_same and saved.head in ("", self._head_before(saved.offset))
            return self._file.seek(saved.offset if is_same else 0)
        return self._file.seek(0 if from_start else size)

    def lines_before(self) -> Iterator[str]:
        """Yield lines before the place where reading begins: they say which emails are in the queue."""
        self._file.seek(max(0, self._start - _MAX_BEFORE))
        while self._file.tell() < self._start and (line := self._file.readline(_CHUNK)):
            yield line.decode("utf-8", "replace")
        self._file.seek(self._start)

    def lines(self) -> Iterator[str]:
        """Yield the complete lines that are there now, also of the file that took the place of this one."""
        if self._was_truncated():
            self._begin(self._file)
        yield from self._read()
        if self._was_rotated() and (following := self._open_following()) is not None:
            yield from self._read()
            self._file.close()
            self._begin(following)
            yield from self._read()

    def _begin(self, file: BinaryIO) -> None:
        """Read a file from its start."""
        file.seek(0)
        self._file, self._rest, self._left_out, self._head = file, b"", 0, ""

    def _read(self) -> Iterator[str]:
        while chunk := self._file.read(_CHUNK):
            *complete, rest = (self._rest + chunk).split(b"\n")
            # What follows the beginning of a long line is no line of its own.
            self._left_out = (0 if complete else self._left_out) + max(0, len(rest) - _CHUNK)
            self._rest = rest[:_CHUNK]
            for line in complete:
                yield line.decode("utf-8", "replace")
        self._head = self._head_before(self._file.tell())

    @property
    def place(self) -> Place:
        """Where reading has ended."""
        offset = self._file.tell() - len(self._rest) - self._left_out
        return Place(inode=self._inode(), offset=offset, head=self._head_before(offset))

    def save(self, place: Place) -> None:
        """Save the position from which a later run continues.

        Raises:
            ConfigurationError: it cannot be saved.
        """
        if self._state is None:
            return
        partial = self._state.with_suffix(".new")
        try:
            self._state.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Create a new file: opening an existing one would follow a symbolic link of another user.
            partial.unlink(missing_ok=True)
            with partial.open("x") as file:
                json.dump(asdict(place), file)
            partial.replace(self._state)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ConfigurationError(
                f"The position in {self._path} cannot be saved as {self._state}: {reason}.",
                fix="Set MAILCTL_HOME to a folder that this user may write.",
            ) from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _saved(self) -> Place | None:
        try:
            found = json.loads(self._state.read_text()) if self._state else {}
            offset = max(0, int(found["offset"]))
            return Place(inode=int(found["inode"]), offset=offset, head=str(found.get("head", "")))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _was_rotated(self) -> bool:
        try:
            return self._path.stat().st_ino != self._inode()
        except OSError:
            return False  # between the two steps of a rotation

    def _was_truncated(self) -> bool:
        """Whether the file was emptied since it was last read; it may have been filled again since."""
        read = self._file.tell()
        return self._size() < read or self._head != self._head_before(read)

    def _head_before(self, offset: int) -> str:
        """Return a hash of the first octets of the file, none of which is beyond an offset."""
        head = os.pread(self._file.fileno(), min(offset, _HEAD), 0)
        return hashlib.sha256(head).hexdigest()[:16] if head else ""

    def _open_following(self) -> BinaryIO | None:
        """Return the new file that rotation has put at the path; None while it cannot be read."""
        try:
            return self._path.open("rb")
        except OSError as error:
            if self._logged_reason != (reason := error.strerror or type(error).__name__):
                _log.warning("%s was rotated, and the new file cannot be read: %s", self._path, reason)
            self._logged_reason = reason
            return None

    def _inode(self) -> int:
        return os.fstat(self._file.fileno()).st_ino

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size
