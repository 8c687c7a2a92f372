"""Every command in a window of a terminal, narrow and wide: what one sees when it has ended."""

from __future__ import annotations

import os
import re
import shlex
import signal
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from rich.cells import cell_len

from mailctl.settings import Settings
from tests.acceptance.blocks import blocks_of
from tests.acceptance.console import steps_of
from tests.acceptance.every_command import ROWS, Office, Row, commands
from tests.acceptance.forked import PRELOADED
from tests.acceptance.screen import MOTION, Screen

CAMPAIGNS = Path(__file__).parents[2] / "docs" / "how-to" / "campaigns.md"
#: The dumb terminal has the width between them.
WIDTHS = (40, 200)
#: Errors, bad rows of lists, and commands to be copied: they are never folded.
TALK = re.compile(r"^error: |^line \d+: |mailctl |^waiting for ")
#: Of a window, so that all that is printed is still to be seen.
LINES = 150


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    """A folder with emails of all sorts, which stays as it is."""
    return Office(tmp_path_factory.mktemp("office"))


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a test sets is in the environment."""
    for name in {name.upper() for name in Settings.model_fields} & set(os.environ):
        monkeypatch.delenv(name)


def test_none_is_left_out() -> None:
    """A new command needs a row."""
    assert {row.command for row in ROWS} == commands()


def test_what_is_preloaded_exists() -> None:
    """The process that imports it says nothing of a module that has gone: every command imports the rest."""
    assert [name for name in PRELOADED if find_spec(name) is None] == []


@pytest.mark.parametrize(
    ("row", "columns"),
    # The demo takes the time of a worker's start each time.
    [
        pytest.param(row, n, id=f"{row}, {n}")
        for row in ROWS
        for n in WIDTHS
        if row.command != "demo" or n == 40
    ],
)
def test_it_leaves_a_clean_screen(office: Office, tmp_path: Path, row: Row, columns: int) -> None:
    """Stdin, stdout and stderr are one terminal, as they are for people."""
    with opened(office, tmp_path, row, columns=columns) as screen:
        assert code_of(screen, row) == row.code, screen.text
        assert "Traceback" not in screen.text, screen.text
        assert MOTION.search(screen.text) is None, screen.text
        assert "None" not in screen.text, screen.text
        screen.assert_as_before()
        assert too_long(screen, row, columns=columns) == []


def too_long(screen: Screen, row: Row, *, columns: int) -> list[str]:
    """Return the lines that a command had to fit to the terminal, and has not."""
    lines = [line for line in screen.printed if not TALK.search(line)] if row.is_fitted else []
    return [line for line in lines if cell_len(line) > columns]


@pytest.mark.parametrize("row", [row for row in ROWS if row.command != "demo"], ids=str)
def test_a_dumb_terminal_gets_no_escape(office: Office, tmp_path: Path, row: Row) -> None:
    """Neither colours nor anything that moves; `top` takes one look there."""
    if row.command == "top":
        row = replace(row, until="", code=0)
    with opened(office, tmp_path, row, columns=80, TERM="dumb") as screen:
        assert (code_of(screen, row), b"\x1b" in screen.written) == (row.code, False), screen.text
        assert too_long(screen, row, columns=80) == []


@pytest.mark.parametrize("words", ["list", "stats", "health", "send welcome", "hold", "status"])
@pytest.mark.parametrize("how", ["NO_COLOR", "--no-color"])
def test_without_colours_nothing_moves(office: Office, tmp_path: Path, words: str, how: str) -> None:
    """Only what takes the whole screen, such as `top`, still draws."""
    row = next(row for row in ROWS if row.command == words)
    option = how if how.startswith("--") else ""
    coloured = replace(row, arguments=f"{row.arguments} {option}")
    environment = {} if option else {how: "1"}
    with opened(office, tmp_path, coloured, columns=80, **environment) as screen:
        assert (code_of(screen, row), b"\x1b" in screen.written) == (row.code, False), screen.text


def test_a_campaign_shows_how_far_it_is(office: Office, tmp_path: Path) -> None:
    """From the first moment on, when nobody knows how long it will take."""
    row = Row(command="send welcome", arguments="--users-file users.csv", code=1)
    with opened(office, tmp_path, row, columns=100) as screen:
        assert code_of(screen, row) == 1
        assert b"0 of 3" in screen.written


def test_the_campaign_of_the_documents(tmp_path: Path) -> None:
    """As it stands there, in a window; the ids that `list` prints for it lead to its emails."""
    listed, send, look = steps_of(blocks_of(CAMPAIGNS)[0])
    (tmp_path / "users.csv").write_text("\n".join([*listed.shown, ""]))
    with Screen(tmp_path, *shlex.split(send.command)[1:]) as screen:
        assert screen.wait_for_end() == 0, screen.text
        expected = re.sub(r"[0-9a-f]{12}", "[0-9a-f]{12}", send.shown[0])
        [printed] = screen.text.splitlines()
        assert re.fullmatch(expected, printed), screen.text
    campaign = printed.split()[-1]
    words = [campaign if word.startswith("email-") else word for word in shlex.split(look.command)[1:]]
    with Screen(tmp_path, *words) as screen:
        assert (screen.wait_for_end(), "No email" in screen.text) == (0, True), screen.text
    with Screen(tmp_path, "list", "--campaign", campaign) as screen:
        assert screen.wait_for_end() == 0
        ids = [line.split()[0] for line in screen.text.splitlines() if "@example.com" in line]
    with Screen(tmp_path, "status", *ids, columns=200) as screen:
        assert (screen.wait_for_end(), len(ids), len(screen.text.splitlines())) == (0, 2, 2), screen.text


def opened(office: Office, tmp_path: Path, row: Row, *, columns: int, **environment: str) -> Screen:
    """Begin a command in a window, in a folder of its own."""
    folder = tmp_path / "work"
    office.copy_to(folder)
    words = row.words(office.ids)
    return Screen(folder, *words, columns=columns, lines=LINES, environment=environment, is_forked=True)


def code_of(screen: Screen, row: Row) -> int:
    """Wait for the end of a command, or press Ctrl-C when it has begun; return its exit code."""
    if row.until:
        screen.wait_for(row.until)
        screen.send_signal(signal.SIGINT)
    return screen.wait_for_end()
