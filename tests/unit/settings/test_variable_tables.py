"""Mail servers out of environment variables."""

from __future__ import annotations

import pytest

from mailctl.errors import ConfigurationError
from mailctl.settings.server_variables import ServerVariable
from mailctl.settings.variable_tables import VariableTable, variable_tables


def variable(value_name: str, value: str, *, server: str = "back-up", source: str = "") -> ServerVariable:
    """Return a variable about a server."""
    name = f"MAILCTL_SERVER_{server.upper().replace('-', '_')}_{value_name.upper()}"
    return ServerVariable(name=name, server=server, value_name=value_name, value=value, source=source)


def number_of(text: str, *, is_whole: bool = True) -> float:
    """Return the port that a variable sets."""
    table = VariableTable("back-up", [variable("port", text, source=".env")])
    return table.number("port", 587, least=1, most=65535, is_whole=is_whole)


def test_variables_are_grouped_by_server() -> None:
    """In the order in which the servers come."""
    found = variable_tables([variable("host", "a", server="x"), variable("host", "b"), variable("port", "1")])
    assert list(found) == ["x", "back-up"]
    assert found["back-up"].title == "MAILCTL_SERVER_BACK_UP_*"


@pytest.mark.parametrize(("text", "is_whole", "expected"), [("25", True, 25.0), ("2.5", False, 2.5)])
def test_a_number_is_given_as_text(text: str, is_whole: bool, expected: float) -> None:
    """As all variables are."""
    assert number_of(text, is_whole=is_whole) == expected


@pytest.mark.parametrize("text", ["", "x", "2.5", "0", "65536", "nan", "1e3"])
def test_what_is_no_number_within_limits_is_named_by_its_variable(text: str) -> None:
    """With where it is set."""
    with pytest.raises(ConfigurationError) as refused:
        number_of(text)
    assert str(refused.value).startswith("MAILCTL_SERVER_BACK_UP_PORT (.env) must be a whole number")


def test_a_number_that_is_not_set_is_the_default() -> None:
    """As in a file."""
    assert VariableTable("x", []).number("port", 587, least=1, most=65535) == 587.0
