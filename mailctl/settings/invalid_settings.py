"""Settings that are refused: what is wrong with each, and where it comes from."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from mailctl.errors import ConfigurationError
from mailctl.settings.connection_urls import InvalidUrl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_FIX = "Correct it, or remove it to get the default."
#: What a value has to be, by the type of pydantic's error, whose own words are about its input.
_REQUIREMENTS: Mapping[str, str] = MappingProxyType(
    {
        "bool_parsing": "True or False",
        "float_parsing": "a number",
        "greater_than": "more than {gt:g}",
        "greater_than_equal": "at least {ge:g}",
        "int_parsing": "a whole number",
        "int_parsing_size": "a whole number",
        "less_than_equal": "at most {le:.0f}",
        "literal_error": "{expected}",
    }
)


def describe_invalid_settings(
    error: ValidationError, origins: Mapping[str, str], *, fix: str = _FIX
) -> ConfigurationError:
    """Return one error for all settings that were refused, without their values.

    Args:
        error: of pydantic, from the model of the settings.
        origins: where a setting was read from, by its name; those that are missing have their defaults.
        fix: what to do about one, unless its error says that.
    """
    problems: list[str] = []
    fixes: dict[str, None] = {}
    for problem in error.errors(include_url=False, include_input=False):
        name = "_".join(str(part) for part in problem["loc"])
        problems.append(f"{name} ({origins.get(name, 'default')}): {_reason(problem)}")
        cause = problem.get("ctx", {}).get("error")
        fixes[cause.fix if isinstance(cause, InvalidUrl) else fix] = None
    return ConfigurationError("; ".join(problems) + ".", fix=" ".join(filter(None, fixes)))


def _reason(problem: ErrorDetails) -> str:
    requirement = _REQUIREMENTS.get(problem["type"])
    if requirement is None:
        return problem["msg"].removeprefix("Value error, ").rstrip(".")
    return f"must be {requirement.format(**problem.get('ctx', {}))}"
