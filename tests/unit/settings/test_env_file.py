"""A `.env` file is read, or refused with the line that is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.errors import ConfigurationError
from mailctl.settings.env_file import read_env_file

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = ("DEBUG", "EMAIL_HOST")


def read(folder: Path, content: str) -> dict[str, str]:
    path = folder / "x.env"
    path.write_text(content, encoding="utf-8")
    return read_env_file(path, required=True, known=KNOWN)


def test_settings_are_read(tmp_path: Path) -> None:
    """With comments, quotes, `export`, and values of several lines."""
    content = "# comment\n\nexport A=1 # one\nB='two # words'\nC=\"three\nlines\"\nD=\nE\n"
    assert read(tmp_path, content) == {
        "A": "1",
        "B": "two # words",
        "C": "three\nlines",
        "D": "",
        "E": "",
    }


def test_a_file_may_be_missing_unless_it_was_named(tmp_path: Path) -> None:
    """There is a default name."""
    assert read_env_file(tmp_path / "x.env", required=False, known=KNOWN) == {}
    with pytest.raises(ConfigurationError, match=r"x\.env does not exist"):
        read_env_file(tmp_path / "x.env", required=True, known=KNOWN)


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        ("A=1\n\nB='two\nEMAIL_HOST=x\n", 3, "quote"),
        ("A='one\nDEBUG=False'\n", 1, "quote"),
        ("A='one' two\n", 1, "after the closing quote"),
        ("A=1\n= 2\n", 2, "not NAME=value"),
    ],
)
def test_a_line_that_would_be_misunderstood_is_refused(
    tmp_path: Path, content: str, line: int, problem: str
) -> None:
    """An open quote would include the settings of the next lines in its value."""
    with pytest.raises(ConfigurationError, match=rf"x\.env, line {line}: .*{problem}"):
        read(tmp_path, content)


def test_a_value_may_contain_names_that_are_not_settings(tmp_path: Path) -> None:
    """Such as those of another program."""
    assert read(tmp_path, "A='one\nOTHER=2'\n") == {"A": "one\nOTHER=2"}
