"""Every command in a window of a terminal, narrow and wide: what one sees when it has ended."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from mailctl.settings import Settings
from tests.acceptance.every_command import ROWS, Office, Row, commands
from tests.acceptance.screen import MOTION, Screen

if TYPE_CHECKING:
    from pathlib import Path

WIDTHS = (40, 80, 200)
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


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_it_leaves_a_clean_screen(office: Office, tmp_path: Path, row: Row, columns: int) -> None:
    """Stdin, stdout and stderr are one terminal, as they are for people."""
    folder = tmp_path / "work"
    office.copy_to(folder)
    with Screen(folder, *row.words(office.ids), columns=columns, lines=LINES, is_forked=True) as screen:
        if row.until:
            screen.wait_for(row.until)
            screen.send_signal(signal.SIGINT)
        code = screen.wait_for_end()
        assert code == row.code, screen.text
        assert "Traceback" not in screen.text, screen.text
        assert MOTION.search(screen.text) is None, screen.text
        assert "None" not in screen.text, screen.text
        screen.assert_as_before()
        if row.is_fitted:
            lines = [line for line in screen.printed if not TALK.search(line)]
            assert [line for line in lines if cell_len(line) > columns] == []
