"""Questions to the operator."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest

from mailctl.cli.terminal.confirm import ask, ask_secret, confirm
from mailctl.errors import InvalidInput, Refused, Unanswered

if TYPE_CHECKING:
    from collections.abc import Callable


class Terminal(io.StringIO):
    """A terminal on which somebody has typed something."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Returns a function that lets stdin be a terminal with a text."""
    return lambda text: monkeypatch.setattr(sys, "stdin", Terminal(text))


def test_yes_needs_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read."""
    monkeypatch.setattr(sys, "stdin", None)
    confirm("Stop?", is_confirmed=True)


def test_only_yes_confirms(typed: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    """No is the default; the question goes to stderr."""
    typed("y\n")
    confirm("Stop?", is_confirmed=False)
    for answer in ("n\n", "\n"):
        typed(answer)
        with pytest.raises(Refused, match=r"Nothing was done\."):
            confirm("Stop?", is_confirmed=False)
    printed = capsys.readouterr()
    assert (printed.out.strip(), printed.err.count("Stop? [y/N]")) == ("", 3)


def test_a_pipe_cannot_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says which option confirms."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(Refused, match="stdin is not a terminal") as caught:
        confirm("Stop?", is_confirmed=False, fix="Add --yes.")
    assert caught.value.fix == "Add --yes."


def test_a_question_without_an_answer_changes_nothing(
    typed: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-D, or Ctrl-C at a secret."""
    typed("")
    with pytest.raises(Unanswered):
        confirm("Stop?", is_confirmed=False)

    def interrupted(_prompt: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("getpass.getpass", interrupted)
    with pytest.raises(Unanswered):
        ask_secret("token")


def test_an_invalid_answer_is_asked_for_again(
    typed: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """After what is wrong with it, and what to do."""

    def check(value: str) -> None:
        if value == "smtp":
            raise InvalidInput("port", "must be a number.", fix="Use 25.")

    typed("smtp\n 25\n")
    assert ask("Port", check=check) == "25"
    assert "The port must be a number. Use 25." in capsys.readouterr().err
