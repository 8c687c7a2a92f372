"""The output of commands into a pipe: JSON, lines and tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.cli.terminal.output import Output
from mailctl.cli.terminal.progress import LiveDisplay
from mailctl.views import SCHEMA_VERSION as SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator


class Json(dict[str, Any]):
    """An object to print."""

    def as_json(self) -> dict[str, Any]:
        """Return itself."""
        return self


def refuse() -> Iterator[list[str]]:
    """Fail if anything is consumed."""
    pytest.fail("consumed")
    yield []


def test_json_has_the_schema_first(capsys: pytest.CaptureFixture[str]) -> None:
    """One object per line."""
    Output(as_json=True).record(Json(a="é\x1b"))
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert "\x1b" not in line
    assert list(json.loads(line).items()) == [("schema", SCHEMA), ("a", "é\x1b")]


def test_a_result_is_an_object_or_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Never both."""
    Output(as_json=True).result(lambda: Json(a=1), "one")
    Output().result(lambda: pytest.fail("computed"), "one")
    assert capsys.readouterr().out == f'{{"schema": "{SCHEMA}", "a": 1}}\none\n'


def test_a_listing_is_objects_or_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """What is not printed is not even computed."""
    Output(as_json=True).listing([Json(a=1), Json(a=2)], columns=["a"], rows=refuse())
    assert capsys.readouterr().out.count("\n") == 2
    Output().listing((Json(a=row) for row in refuse()), columns=["a"], rows=[["1"], ["2"]])
    assert capsys.readouterr().out.split() == ["a", "1", "2"]


def test_control_characters_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """On stdout and stderr."""
    output = Output()
    output.line("a\x1b[2Jb")
    output.note("a\x07b")
    output.error("a\x1bb", "Fix\x1b it.")
    printed = capsys.readouterr()
    assert printed.out == "a\\x1b[2Jb\n"
    assert printed.err == "a\\x07b\nerror: a\\x1bb Fix\\x1b it.\n"


class Narrow(Output):
    """The output on a terminal of forty columns."""

    width = 40


def test_a_command_is_one_line_however_narrow_the_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Half of it would do something else when it is pasted; the terminal wraps it for the eye."""
    command = "mailctl list --state failed --error '550 5.1.1' --since 24h"
    Narrow().fix(f"Look at all of these emails, and then decide: {command}", indent="   -> ")
    *words, last = capsys.readouterr().out.splitlines()
    assert last.strip() == command
    assert " ".join(" ".join(words).split()) == "-> Look at all of these emails, and then decide:"
    Output().fix(f"Run: {command}", indent="   -> ")
    assert capsys.readouterr().out == f"   -> Run: {command}\n"


def test_what_to_do_without_a_command_is_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    """At words, and without an empty line before it."""
    text = "Unless this is on purpose, set EMAIL_HOST to the same value everywhere."
    Narrow().fix(text, indent="-> ")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("-> Unless")
    assert " ".join(line.strip() for line in lines) == f"-> {text}"
    assert max(map(len, lines)) <= 40


def test_fields_without_a_value_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """The others are aligned."""
    Output().fields([("id", "e1"), ("worker", ""), ("queue", "celery")])
    assert capsys.readouterr().out == "id     e1\nqueue  celery\n"


def test_a_pipe_has_no_screen_no_width_and_no_animation(capsys: pytest.CaptureFixture[str]) -> None:
    """The total of a progress bar is not even counted."""
    output = Output()
    assert (output.has_screen, output.width) == (False, None)
    with (
        output.spinner("working") as update,
        output.progress("done", total=lambda: pytest.fail("counted")) as advance,
    ):
        update("still working")
        advance(1)
    assert capsys.readouterr() == ("", "")


def test_no_progress_of_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar that says "0 of 0" would be all that a terminal shows."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(LiveDisplay, "progress", lambda *_, **__: pytest.fail("drawn"))
    with Output().progress("done", total=lambda: 0) as advance:
        advance(1)


def test_no_color_is_a_setting_and_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the environment (https://no-color.org), or of this call."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert not Output(with_color=False).has_color
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Output().has_color
