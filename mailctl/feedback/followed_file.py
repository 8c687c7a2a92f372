"""A file that grows, read line by line, across its rotation and across restarts of the program."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, BinaryIO

from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CHUNK = 65_536
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
        self._file = self._open()
        self._rest = b""
        self._start = self._seek(from_start=from_start)

    def _open(self) -> BinaryIO:
        try:
            return self._path.open("rb")
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise InvalidInput(
                "FILE", f"{self._path} cannot be read: {reason}.", fix="Run as a user who may read it."
            ) from None

    def _seek(self, *, from_start: bool) -> int:
        saved, size = self._saved(), self._size()
        if saved is not None:
            is_same = saved.inode == self._inode() and saved.offset <= size
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
        yield from self._read()
        if self._was_rotated():
            yield from self._read()
            self._file.close()
            self._file, self._rest = self._open(), b""
            yield from self._read()
        elif self._size() < self._file.tell():
            self._file.seek(0)
            self._rest = b""
            yield from self._read()

    def _read(self) -> Iterator[str]:
        while chunk := self._file.read(_CHUNK):
            *complete, self._rest = (self._rest + chunk).split(b"\n")
            # A line without an end is no line of a log.
            self._rest = self._rest if len(self._rest) <= _CHUNK else b""
            for line in complete:
                yield line.decode("utf-8", "replace")

    @property
    def place(self) -> Place:
        """Where reading has ended."""
        return Place(inode=self._inode(), offset=self._file.tell() - len(self._rest))

    def save(self, place: Place) -> None:
        """Save the position from which a later run continues."""
        if self._state is None:
            return
        self._state.parent.mkdir(parents=True, exist_ok=True)
        partial = self._state.with_suffix(".new")
        partial.write_text(json.dumps(asdict(place)))
        partial.replace(self._state)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _saved(self) -> Place | None:
        try:
            found = json.loads(self._state.read_text()) if self._state else {}
            return Place(inode=int(found["inode"]), offset=max(0, int(found["offset"])))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _was_rotated(self) -> bool:
        try:
            return self._path.stat().st_ino != self._inode()
        except OSError:
            return False  # between the two steps of a rotation

    def _inode(self) -> int:
        return os.fstat(self._file.fileno()).st_ino

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size
