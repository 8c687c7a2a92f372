"""With EMAIL_ENABLED=False, messages are written to files."""

from __future__ import annotations

import asyncio
import os
import re
import stat
from pathlib import Path

import pytest

from mailctl.domain.models import Envelope
from mailctl.domain.outcomes import OutcomeKind
from mailctl.smtp.capture import CaptureSender


def envelope(message_id: str = "<abc@example.com>") -> Envelope:
    return Envelope(
        sender="shop@example.com",
        recipient="zoe@example.com",
        message_id=message_id,
        data=b"Subject: Hi\r\n\r\nHello\r\n",
        subject="Hi",
    )


def capture(folder: Path, *envelopes: Envelope) -> list[str]:
    async def send_all() -> list[str]:
        sender = CaptureSender(folder)
        outcomes = [await sender.send(each) for each in envelopes]
        await sender.close()
        assert {outcome.kind for outcome in outcomes} <= {OutcomeKind.CAPTURED}
        return [outcome.captured_file or "" for outcome in outcomes]

    return asyncio.run(send_all())


def test_a_message_becomes_a_file_that_only_its_user_may_read(tmp_path: Path) -> None:
    """So does the folder, which is created with the first message."""
    folder = tmp_path / "home" / "mail"
    [path] = capture(folder, envelope())
    [file] = folder.iterdir()
    assert (str(file), file.read_bytes()) == (path, envelope().data)
    assert re.fullmatch(r"\d{8}T\d{6}Z-abc\.eml", file.name)
    assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(folder.stat().st_mode)) == (0o600, 0o700)


def test_a_message_never_overwrites_another(tmp_path: Path) -> None:
    """Also in the same second."""
    paths = capture(tmp_path, *[envelope()] * 3)
    assert len(set(paths)) == len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("message_id", ["<../../etc/x@y>", "<.@y>", "<>", "<a b\n@y>", f"<{'x' * 500}@y>"])
def test_the_name_of_a_file_is_safe(tmp_path: Path, message_id: str) -> None:
    """Whatever the Message-ID, which another program may have chosen."""
    capture(tmp_path / "mail", envelope(message_id))
    [file] = (tmp_path / "mail").iterdir()
    assert re.fullmatch(r"\d{8}T\d{6}Z-[A-Za-z0-9._-]{1,80}\.eml", file.name)


def test_a_file_is_written_through_no_link(tmp_path: Path) -> None:
    """Whatever stands under its name already stays as it is."""
    folder, target = tmp_path / "mail", tmp_path / "target"
    [first] = capture(folder, envelope())
    Path(first).unlink()
    Path(first).symlink_to(target)
    capture(folder, envelope())
    assert not target.exists()


@pytest.mark.parametrize("name", ["home", "home/mail"])
def test_a_folder_that_another_user_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    """Links of our own, and of root, are followed."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    stolen = tmp_path / "stolen"
    stolen.mkdir()
    link = tmp_path / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(stolen)
    capture(tmp_path / "home" / "mail", envelope())
    before = sorted(stolen.rglob("*.eml"))
    os.lchown(link, 65534, 65534)
    with pytest.raises(PermissionError, match="another user"):
        capture(tmp_path / "home" / "mail", envelope())
    assert sorted(stolen.rglob("*.eml")) == before
