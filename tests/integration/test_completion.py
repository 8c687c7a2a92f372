"""What a shell is offered when it completes a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.every_email import HOSTILE_QUEUE, EveryEmail
from tests.integration.commands import welcome

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.commands import Mailctl


class TestCompletion:
    @pytest.mark.parametrize(
        ("words", "offered"),
        [
            ("mailctl cancel --state hel", ["held"]),
            ("mailctl list --kind ver", ["verification"]),
            ("mailctl queue pause mail", ["mailctl.bulk"]),
            ("mailctl show ID", ["ID"]),
            ("mailctl list --sort up", ["updated"]),
        ],
    )
    def test_a_shell_is_offered_what_there_is(
        self,
        mailctl: Mailctl,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        words: str,
        offered: list[str],
    ) -> None:
        """Ids, states, kinds, queues and orders."""
        email_id = welcome(mailctl)
        assert complete(mailctl, monkeypatch, capsys, words.replace("ID", email_id[:6])) == [
            each.replace("ID", email_id) for each in offered
        ]

    def test_what_a_shell_would_act_on_is_not_offered(
        self, mailctl: Mailctl, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It would stand in the line without quotes, and be run."""
        monkeypatch.setenv("CELERY_QUEUE_DEFAULT", HOSTILE_QUEUE)
        every = EveryEmail(parts := Runtime(Settings.load()))
        every.record("hostile id", id="ffff;touch${IFS}pwned")
        parts.close()
        assert complete(mailctl, monkeypatch, capsys, "mailctl queue pause cel") == []
        assert complete(mailctl, monkeypatch, capsys, "mailctl show ffff") == []

    def test_without_a_log_nothing_is_offered_or_made(
        self,
        mailctl: Mailctl,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        tmp_path: Path,
    ) -> None:
        """And nothing is said."""
        assert complete(mailctl, monkeypatch, capsys, "mailctl show abc") == []
        assert list(tmp_path.iterdir()) == []


def complete(
    mailctl: Mailctl, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str
) -> list[str]:
    """Return what bash would be offered for the last of some words."""
    monkeypatch.setenv("_MAILCTL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    with pytest.raises(SystemExit, match="0"):
        mailctl()
    out, err = capsys.readouterr()
    assert err == ""
    return str(out).split()
