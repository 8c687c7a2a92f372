"""Symbolic links of other users."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from mailctl.settings.file_owners import is_link_of_stranger

if TYPE_CHECKING:
    from pathlib import Path


def test_a_link_of_another_user_is_found(tmp_path: Path) -> None:
    """Links of this user and of root are none, nor is a file, nor nothing."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "file").touch()
    assert not any(is_link_of_stranger(tmp_path / name) for name in ("link", "file", "nothing"))
    if os.geteuid() != 0:
        pytest.skip("only root can give a link to another user")
    os.lchown(link, 65534, 65534)
    os.chown(tmp_path / "file", 65534, 65534)
    assert [is_link_of_stranger(tmp_path / name) for name in ("link", "file")] == [True, False]
