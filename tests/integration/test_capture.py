"""Capturing: messages written to files instead of being sent."""

from __future__ import annotations

import asyncio
import re
import stat
from typing import TYPE_CHECKING

from mailctl.domain.models import Envelope
from mailctl.domain.outcomes import Outcome, OutcomeKind
from mailctl.smtp.capture import CaptureSender

if TYPE_CHECKING:
    from pathlib import Path


def message(
    message_id: str = "<abc123@example.com>", *, data: bytes = b"Subject: x\r\n\r\nhello\r\n"
) -> Envelope:
    return Envelope(
        sender="app@example.com", recipient="u@example.com", message_id=message_id, data=data, subject="x"
    )


def capture(folder: Path, *messages: Envelope) -> list[Outcome]:
    async def send_all() -> list[Outcome]:
        sender = CaptureSender(folder)
        outcomes = await asyncio.gather(*(sender.send(each) for each in messages))
        await sender.close()
        return outcomes

    return asyncio.run(send_all())


def test_the_file_holds_the_message_byte_for_byte(tmp_path: Path) -> None:
    """What is captured is what would have been sent."""
    data = b"Subject: x\r\n\r\n.dot\r\nb\xc3\xa4r\r\n"
    [outcome] = capture(tmp_path, message(data=data))
    [path] = tmp_path.iterdir()
    assert path.read_bytes() == data
    assert (outcome.kind, outcome.captured_file) == (OutcomeKind.CAPTURED, str(path))


def test_the_name_tells_time_and_message(tmp_path: Path) -> None:
    """UTC time first, so that names sort by time; then the local part of the Message-ID."""
    capture(tmp_path, message("<abc123@example.com>"))
    [path] = tmp_path.iterdir()
    assert re.fullmatch(r"\d{8}T\d{6}Z-abc123\.eml", path.name)


def test_only_this_user_may_read_captured_messages(tmp_path: Path) -> None:
    """They hold links that sign people in."""
    folder = tmp_path / "home" / "captured"
    capture(folder, message())
    [path] = folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_same_message_again_gets_a_number(tmp_path: Path) -> None:
    """Nothing is ever overwritten, not even by many at the same moment."""
    outcomes = capture(tmp_path, *(message(data=b"%d\r\n" % number) for number in range(20)))
    assert len({outcome.captured_file for outcome in outcomes}) == 20
    assert sorted(int(path.read_bytes()) for path in tmp_path.iterdir()) == list(range(20))
    assert any(path.name.endswith("-abc123-2.eml") for path in tmp_path.iterdir())


def test_a_message_id_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    """A name made from a header is a name, never a path."""
    folder = tmp_path / "captured"
    capture(folder, message("<../../etc/passwd@example.com>"), message("<>"))
    assert [path.name for path in tmp_path.iterdir()] == ["captured"]
    assert len(list(folder.iterdir())) == 2
