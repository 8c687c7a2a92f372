"""Reads the TOML and JSON files of settings strictly: errors name the file, the place and what is allowed."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from mailctl.errors import ConfigurationError
from mailctl.settings.file_owners import find_foreign_writer
from mailctl.settings.secret_files import read_secret_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

#: The largest file in bytes.
_LARGEST_FILE = 1_048_576
_LONGEST_TEXT = 1000


class TomlTable:
    """A table of a TOML or JSON file; values are taken one by one, and `finish` refuses the rest.

    Args:
        values: the table.
        source: the setting and the file, for error messages.
        path: the name of the table in the file; "" for the whole file.
    """

    def __init__(self, values: Mapping[str, Any], *, source: str, path: str = "") -> None:
        self._values = dict(values)
        self._source = source
        self._path = path
        self._known: list[str] = []

    @property
    def title(self) -> str:
        """The title of the table in messages: the setting, the file and its name."""
        return f"{self._source}: {self._path}" if self._path else self._source

    def text(self, name: str, default: str = "") -> str:
        """Take a text of one line.

        Raises:
            ConfigurationError: it is something else, as in all methods here.
        """
        value = self._take(name, default)
        if not isinstance(value, str) or len(value) > _LONGEST_TEXT or not _is_one_line(value):
            raise self.error(name, f"must be text of one line, of at most {_LONGEST_TEXT} characters")
        return value

    def choice(self, name: str, allowed: Sequence[str], default: str) -> str:
        """Take one of several words."""
        value = self._take(name, default)
        if value not in allowed:
            raise self.error(name, f"must be one of {', '.join(allowed)}")
        return str(value)

    def number(
        self, name: str, default: float, *, least: float, most: float, is_whole: bool = False
    ) -> float:
        """Take a number within limits."""
        value = self._take(name, default)
        is_number = isinstance(value, int) or (isinstance(value, float) and not is_whole)
        if not is_number or isinstance(value, bool) or not least <= value <= most:
            kind = "a whole number" if is_whole else "a number"
            raise self.error(name, f"must be {kind} from {least:g} to {most:g}")
        return float(value)

    def names(self, name: str) -> tuple[str, ...]:
        """Take a list of texts without repetition; () if there is none."""
        value = self._take(name, [])
        is_list = isinstance(value, list) and all(
            isinstance(each, str) and each and len(each) <= _LONGEST_TEXT and _is_one_line(each)
            for each in value
        )
        if not is_list:
            raise self.error(name, 'must be a list of texts such as ["one", "two"]')
        if len(set(value)) < len(value):
            raise self.error(name, "names something twice")
        return tuple(value)

    def file(self, name: str) -> Path | None:
        """Take the path of a file, relative to the working directory; None if there is none."""
        value = self.text(name)
        return Path(value) if value else None

    def secret(self, name: str) -> SecretStr:
        """Take a secret, or the content of the file that `NAME_file` names."""
        value, file = self.text(name), self.file(f"{name}_file")
        if value and file is not None:
            raise self.error(
                name, f"and {self._full_name(f'{name}_file')} are both given; remove one of them"
            )
        return SecretStr(value if file is None else read_secret_file(file, self.place(f"{name}_file")))

    def table(self, name: str) -> TomlTable:
        """Take a table; an empty one if there is none."""
        value = self._take(name, {})
        if not isinstance(value, dict):
            raise self.error(name, f"must be a table, such as [{self._full_name(name)}.first]")
        return TomlTable(value, source=self._source, path=self._full_name(name))

    def tables(self, name: str) -> list[TomlTable]:
        """Take a list of tables; none if there is none."""
        value = self._take(name, [])
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise self.error(name, f"must be tables, each written as [[{self._full_name(name)}]]")
        return [
            TomlTable(each, source=self._source, path=f"{self._full_name(name)}[{number}]")
            for number, each in enumerate(value, start=1)
        ]

    def entries(self) -> Iterator[tuple[str, TomlTable]]:
        """Take all values of the table, each of which is a table, with their names."""
        for name in list(self._values):
            yield name, self.table(name)

    def finish(self) -> None:
        """Refuse values that nobody took: most of them are typing errors."""
        for name in self._values:
            raise self.error(name, f"is unknown; use one of: {', '.join(sorted(self._known))}")

    def error(self, name: str, problem: str) -> ConfigurationError:
        """Return the error about a value."""
        return ConfigurationError(f"{self.place(name)} {problem}.", fix="Correct the file.")

    def place(self, name: str) -> str:
        """Return where a value stands, for error messages: the setting, the file and the full name."""
        return f"{self._source}: {self._full_name(name)}"

    def name_of(self, name: str) -> str:
        """Return what a sentence that has named the file calls a value: its full name."""
        return self._full_name(name)

    def _take(self, name: str, default: object) -> Any:
        self._known.append(name)
        return self._values.pop(name, default)

    def _full_name(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name


def read_toml_file(path: Path, *, setting: str, runs_code: Callable[[str], bool] | None = None) -> TomlTable:
    """Return the content of a TOML file, or of a JSON file with the same tables.

    Args:
        path: the file; JSON if its name ends with .json.
        setting: the setting that names it.
        runs_code: whether its content, as text, names code that mailctl runs; such a file must be one that no
            other user could have written.

    Raises:
        ConfigurationError: the file cannot be read, is not TOML or JSON, or runs code of another user.
    """
    source = f"{setting} ({path})"
    values = _parse(_read_text(path, source), source, is_json=path.suffix == ".json")
    # The parsed values, not the text of the file: an escape sequence could hide a name.
    if runs_code is not None and runs_code(str(values)) and (writer := find_foreign_writer(path)):
        raise ConfigurationError(
            f"{source}: the file names code that is run, and {writer}.",
            fix="Let the file and its folder belong to the user of this process alone.",
        )
    return TomlTable(values, source=source)


def _read_text(path: Path, source: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ConfigurationError(
            f"{source}: the file cannot be read: {reason}.",
            fix="Name a file that the user of this process can read.",
        ) from None
    if len(content) > _LARGEST_FILE:
        raise ConfigurationError(f"{source}: the file is too large.", fix="Name the right file.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{source}: the file is not UTF-8 text.", fix="Correct the file.") from None


def _parse(text: str, source: str, *, is_json: bool) -> dict[str, Any]:
    try:
        return _parse_json(text) if is_json else tomllib.loads(text)
    except RecursionError:
        raise ConfigurationError(
            f"{source}: the file is too deeply nested.", fix="Correct the file."
        ) from None
    except ValueError as error:
        # It says line and column, and quotes no value.
        raise ConfigurationError(
            f"{source}: the file is not {'JSON' if is_json else 'TOML'}: {_reason(error)}.",
            fix="Correct the file.",
        ) from None


def _parse_json(text: str) -> dict[str, Any]:
    values = json.loads(text, object_pairs_hook=_without_duplicates)
    if not isinstance(values, dict):
        raise ValueError("Expecting an object (at line 1, column 1)")
    return values


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("Cannot declare twice (in one object)")
    return dict(pairs)


def _reason(error: ValueError) -> str:
    place = str(error).rpartition("(")[2].rstrip(")")
    if isinstance(error, json.JSONDecodeError):
        place = f"at line {error.lineno}, column {error.colno}"
    if str(error).startswith(("Cannot declare", "Cannot overwrite", "Cannot mutate")) and place:
        return f"a name is defined twice, {place}"
    return f"there is a mistake {place}" if place.startswith("at ") else "there is a mistake"


def _is_one_line(text: str) -> bool:
    return all(character.isprintable() for character in text)
