"""Strict TOML files: each value is taken as what it should be, and each mistake is one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.errors import ConfigurationError
from mailctl.settings.toml_tables import TomlTable, read_toml_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TABLE = TomlTable(
    {
        "text": "a",
        "lines": "a\nb",
        "number": 3,
        "fraction": 0.5,
        "flag": True,
        "names": ["a", "b"],
        "twice": ["a", "a"],
        "table": {"inner": {}},
        "tables": [{"a": 1}],
    },
    source="X (file)",
)


def take(name: str, how: Callable[[TomlTable], object]) -> object:
    """Take a value of a fresh copy of the table."""
    return how(TomlTable({name: TABLE._values[name]}, source="X (file)"))


@pytest.mark.parametrize(
    ("name", "how", "value"),
    [
        ("text", lambda table: table.text("text"), "a"),
        ("text", lambda table: table.choice("text", ("a", "b"), "b"), "a"),
        ("number", lambda table: table.number("number", 1, least=0, most=9, is_whole=True), 3.0),
        ("fraction", lambda table: table.number("fraction", 1, least=0, most=9), 0.5),
        ("names", lambda table: table.names("names"), ("a", "b")),
        ("table", lambda table: [name for name, _ in table.table("table").entries()], ["inner"]),
        ("tables", lambda table: len(table.tables("tables")), 1),
    ],
)
def test_a_value_is_taken(name: str, how: Callable[[TomlTable], object], value: object) -> None:
    """As what its reader asks for."""
    assert take(name, how) == value


@pytest.mark.parametrize(
    ("name", "how", "said"),
    [
        ("lines", lambda table: table.text("lines"), "lines must be text of one line"),
        ("number", lambda table: table.text("number"), "number must be text of one line"),
        ("text", lambda table: table.choice("text", ("b", "c"), "b"), "text must be one of b, c"),
        ("number", lambda table: table.number("number", 1, least=4, most=9), "must be a number from 4 to 9"),
        ("flag", lambda table: table.number("flag", 1, least=0, most=9), "flag must be a number"),
        (
            "fraction",
            lambda table: table.number("fraction", 1, least=0, most=9, is_whole=True),
            "fraction must be a whole number",
        ),
        ("text", lambda table: table.names("text"), "text must be a list of texts"),
        ("twice", lambda table: table.names("twice"), "twice names something twice"),
        ("text", lambda table: table.table("text"), "text must be a table, such as [text.first]"),
        ("table", lambda table: table.tables("table"), "table must be tables, each written as [[table]]"),
        ("text", lambda table: table.finish(), "text is unknown"),
        ("table", lambda table: table.table("table").finish(), "table.inner is unknown"),
    ],
)
def test_a_mistake_is_one_sentence(name: str, how: Callable[[TomlTable], object], said: str) -> None:
    """With the setting, the file and the place."""
    with pytest.raises(ConfigurationError) as raised:
        take(name, how)
    assert raised.value.message.startswith("X (file): ")
    assert said in raised.value.message


def test_a_secret_is_given_once(tmp_path: Path) -> None:
    """As a text or as a file."""
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    file.chmod(0o600)
    given = TomlTable({"password_file": str(file)}, source="X (file)")
    assert given.secret("password").get_secret_value() == "hunter2"
    both = TomlTable({"password": "a", "password_file": str(file)}, source="X (file)")
    with pytest.raises(ConfigurationError, match="password and password_file are both given"):
        both.secret("password")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff", "is not UTF-8 text"),
        (b"a = ", "is not TOML: there is a mistake"),
        (b"a = " + b"[" * 5000, "is too deeply nested"),
        (b"a = 1\na = 2", "is not TOML: a name is defined twice"),
        (b"[a]\n[a]", "is not TOML: a name is defined twice, at line 2"),
        (b'{"a": 1', "is not JSON: there is a mistake at line 1, column 8"),
        (b'{"a":' + b"[" * 200_000, "is too deeply nested"),
        (b'{"a": {"b": 1, "b": 2}}', "is not JSON: a name is defined twice"),
        (b'{"a": 1e999999, "b": 1} 2', "is not JSON: there is a mistake at line 1"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    """Without what stands in it."""
    path = tmp_path / ("x.json" if content.startswith(b"{") else "x.toml")
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as raised:
        read_toml_file(path, setting="X")
    assert said in raised.value.message


def test_a_file_is_read_no_further_than_it_may_be_long(tmp_path: Path) -> None:
    """A wrong name may be that of a disk image."""
    path = tmp_path / "x.toml"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ConfigurationError, match="the file is too large"):
        read_toml_file(path, setting="X")
