"""What `mailctl send` prints of the emails that it has recorded."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from mailctl.cli import send_single
from mailctl.cli.terminal.output import Output
from mailctl.domain.states import State
from tests.emails import NOW, email

if TYPE_CHECKING:
    import pytest

    from mailctl.cli.context import CliSession
    from mailctl.domain.models import Email


def shown(capsys: pytest.CaptureFixture[str], found: Email, **how: Any) -> Any:
    """Return what is printed of an email."""
    send_single._show(cast("CliSession", SimpleNamespace(output=Output(**how))), found)
    return capsys.readouterr()


def test_an_email_is_a_line_with_its_id(capsys: pytest.CaptureFixture[str]) -> None:
    """By which it is found again."""
    line = shown(capsys, email(State.QUEUED)).out
    assert line.split() == ["queued", "e1", "welcome", "to", "zoe@example.com"]


def test_a_scheduled_email_says_when(capsys: pytest.CaptureFixture[str]) -> None:
    """It is not late."""
    assert "scheduled for" in shown(capsys, email(not_before=NOW + timedelta(days=1))).out
    assert "scheduled for" not in shown(capsys, email()).out


def test_an_email_that_is_suppressed_says_why_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the output, which stays data."""
    found = shown(capsys, email(State.SUPPRESSED, error="the address bounced"), as_json=True)
    assert json.loads(found.out)["state"] == "suppressed"
    assert "the address bounced; use --force to send it anyway." in found.err
