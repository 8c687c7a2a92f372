"""Named mail servers out of environment variables, read as strictly as the tables of a TOML file."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from typing_extensions import override

from mailctl.errors import ConfigurationError
from mailctl.settings.server_variables import PREFIX
from mailctl.settings.toml_tables import TomlTable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailctl.settings.server_variables import ServerVariable


class VariableTable(TomlTable):
    """The values of one mail server; numbers are given as text.

    Args:
        server: the name of the mail server.
        variables: what describes it.
    """

    def __init__(self, server: str, variables: Iterable[ServerVariable]) -> None:
        given = list(variables)
        super().__init__({each.value_name: each.value for each in given}, source="")
        self._prefix = PREFIX + server.upper().replace("-", "_")
        self._sources = {each.value_name: each.source for each in given}

    @property
    @override
    def title(self) -> str:
        return f"{self._prefix}_*"

    @override
    def number(
        self, name: str, default: float, *, least: float, most: float, is_whole: bool = False
    ) -> float:
        text = self._values.get(name)
        if isinstance(text, str):
            with contextlib.suppress(ValueError):  # what is no number is refused as such below
                self._values[name] = int(text) if is_whole else float(text)
        return super().number(name, default, least=least, most=most, is_whole=is_whole)

    @override
    def error(self, name: str, problem: str) -> ConfigurationError:
        return ConfigurationError(
            f"{self.place(name)} {problem}.", fix="Correct it; see MAILCTL_SERVERS in .env.example."
        )

    @override
    def place(self, name: str) -> str:
        source = self._sources.get(name)
        return self._full_name(name) + (f" ({source})" if source else "")

    @override
    def _full_name(self, name: str) -> str:
        return f"{self._prefix}_{name.upper()}"


def variable_tables(variables: Iterable[ServerVariable]) -> dict[str, VariableTable]:
    """Return the values of each mail server that variables describe, by its name."""
    by_server: dict[str, list[ServerVariable]] = {}
    for variable in variables:
        by_server.setdefault(variable.server, []).append(variable)
    return {server: VariableTable(server, given) for server, given in by_server.items()}
