"""New messages of a Maildir are taken once, and stay new until they are recorded."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from mailctl.errors import ConfigurationError, LogUnavailable
from mailctl.feedback.maildir import MaildirSource
from tests.unit.feedback.taking import Taken

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    """An empty Maildir."""
    for name in ("new", "cur", "tmp"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_new_messages_of_a_maildir_are_taken_once(maildir: Path) -> None:
    """And marked as seen; what is there already, hidden, or leads elsewhere is left alone."""
    (maildir / "new" / "1.a").write_bytes(b"first")
    (maildir / "new" / "2.b:2,").write_bytes(b"second")
    (maildir / "new" / ".hidden").write_bytes(b"no")
    (maildir / "cur" / "0.c:2,S").write_bytes(b"old")
    (maildir / "new" / "3.link").symlink_to("/etc/passwd")
    os.mkfifo(maildir / "new" / "0.pipe")
    (maildir / "new" / "0.folder").mkdir()
    taken = Taken()
    for _ in range(2):
        MaildirSource(maildir).run(taken, stopped=threading.Event(), once=True)
    assert [data for data, _ in taken] == [b"first", b"second"]
    assert {"1.a:2,S", "2.b:2,S"} <= {path.name for path in (maildir / "cur").iterdir()}


def test_a_message_stays_new_until_it_is_recorded(maildir: Path) -> None:
    """The log may be down."""
    (maildir / "new" / "1.a").write_bytes(b"first")
    taken = Taken()
    taken.failures = 1
    source = MaildirSource(maildir)
    with pytest.raises(LogUnavailable):
        source.run(taken, stopped=threading.Event(), once=True)
    source.run(taken, stopped=threading.Event(), once=True)
    assert taken == [(b"first", "")]


def test_a_message_that_vanishes_stops_no_other(maildir: Path) -> None:
    """Another program may read the Maildir too: before this one has read a message, or before it moves it."""
    for name in ("1.a", "2.b", "3.c"):
        (maildir / "new" / name).write_bytes(name.encode())
    taken: list[bytes] = []

    def take(data: bytes) -> None:
        taken.append(data)
        if data == b"1.a":
            (maildir / "new" / "1.a").rename(maildir / "cur" / "1.a:2,")
            (maildir / "new" / "2.b").unlink()

    MaildirSource(maildir).run(take, stopped=threading.Event(), once=True)
    assert taken == [b"1.a", b"3.c"]


def test_a_message_that_cannot_be_read_is_told(
    maildir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once: it may belong to another user; the others are taken."""
    for name in ("1.a", "2.b"):
        (maildir / "new" / name).write_bytes(name.encode())
    unlocked = os.open

    def locked(path: object, flags: int) -> int:
        if str(path).endswith("1.a"):
            raise PermissionError
        return unlocked(str(path), flags)

    monkeypatch.setattr(os, "open", locked)
    taken, source = Taken(), MaildirSource(maildir)
    for _ in range(2):
        source.run(taken, stopped=threading.Event(), once=True)
    assert taken == [(b"2.b", "")]
    assert [each.getMessage() for each in caplog.records] == [
        "the source maildir cannot read or move 1 of its messages"
    ]


def test_a_message_that_cannot_be_moved_is_taken_once(
    maildir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The folder for read messages may belong to another user; those after it are taken as well."""
    for name in ("1.a", "2.b"):
        (maildir / "new" / name).write_bytes(name.encode())
    (maildir / "cur" / "1.a:2,S").mkdir()
    taken, source = Taken(), MaildirSource(maildir)
    for _ in range(2):
        source.run(taken, stopped=threading.Event(), once=True)
    assert taken == [(b"1.a", ""), (b"2.b", "")]
    assert len(caplog.records) == 1


def test_a_folder_that_is_no_maildir_is_refused(tmp_path: Path) -> None:
    """With the name of the setting."""
    with pytest.raises(ConfigurationError, match="MAILCTL_FEEDBACK_MAILDIR"):
        MaildirSource(tmp_path)
