"""The identity of the operator."""

from __future__ import annotations

import getpass
import socket
from typing import TYPE_CHECKING

from mailctl.operations.identity import current_actor

if TYPE_CHECKING:
    import pytest


def test_the_setting_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without spaces around it, and of limited length."""
    monkeypatch.setenv("MAILCTL_ACTOR", f" ada@desk{'x' * 200} ")
    assert current_actor() == f"ada@desk{'x' * 120}"


def test_the_default_is_the_user_and_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the setting is blank."""
    monkeypatch.setenv("MAILCTL_ACTOR", " ")
    assert current_actor() == f"{getpass.getuser()}@{socket.gethostname()}"
