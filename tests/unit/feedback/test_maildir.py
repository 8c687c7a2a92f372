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
    os.mkfifo(maildir / "new" / "4.pipe")
    taken = Taken()
    for _ in range(2):
        MaildirSource(maildir).run(taken, stopped=threading.Event(), once=True)
    assert [data for data, _ in taken if data] == [b"first", b"second"]
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


def test_a_folder_that_is_no_maildir_is_refused(tmp_path: Path) -> None:
    """With the name of the setting."""
    with pytest.raises(ConfigurationError, match="MAILCTL_FEEDBACK_MAILDIR"):
        MaildirSource(tmp_path)
