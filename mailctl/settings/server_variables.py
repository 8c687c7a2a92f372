"""Finds the variables MAILCTL_SERVER_<NAME>_*, which describe named mail servers one value at a time."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailctl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What the names of these variables begin with.
PREFIX = "MAILCTL_SERVER_"
#: The values of a server, by the names that they have in the file of MAILCTL_SERVERS.
_PLAIN = (
    *("host", "port", "tls", "user", "auth", "oauth_token", "ca_file", "client_cert", "client_key"),
    *("helo_name", "connections", "rate", "connect_seconds", "timeout_seconds", "data_timeout_seconds"),
)
_SECRET = ("password", "oauth_token_command")
_SECRET_FILES = tuple(f"{name}_file" for name in _SECRET)
VALUE_NAMES = (*_PLAIN, *_SECRET, *_SECRET_FILES)
#: Values that are run, or name a file whose content is sent to the server.
_LOADED = frozenset({"oauth_token", "oauth_token_command", *_SECRET_FILES})
# The longest name comes first: DATA_TIMEOUT_SECONDS ends in TIMEOUT_SECONDS.
_VARIABLE = re.compile(
    rf"{PREFIX}(?P<server>[A-Z0-9]+(?:_[A-Z0-9]+)*?)"
    rf"_(?P<value>{'|'.join(sorted(map(str.upper, VALUE_NAMES), key=len, reverse=True))})"
)


@dataclass(frozen=True, kw_only=True)
class ServerVariable:
    """One variable about a named mail server."""

    #: The variable, such as MAILCTL_SERVER_BACKUP_HOST.
    name: str
    #: The name of the server: lower case, with hyphens for underscores.
    server: str
    #: What it is in the file of MAILCTL_SERVERS, such as host.
    value_name: str
    value: str = field(repr=False)
    #: environment, or the path of the file.
    source: str

    @property
    def is_secret(self) -> bool:
        """Whether the value is shown to nobody."""
        return self.value_name in _SECRET


def read_server_variables(
    environment: Mapping[str, str], from_file: Mapping[str, str], *, file: str
) -> tuple[ServerVariable, ...]:
    """Return the variables about named mail servers, in the order of servers and values.

    Args:
        environment: the environment, which comes first.
        from_file: what a `.env` file sets.
        file: the path of that file.

    Raises:
        ConfigurationError: a name says no server, or no value that servers have.
    """
    found = {
        name: _variable(name, value, source=file)
        for name, value in from_file.items()
        if _is_given(name, value)
    }
    given = [
        _variable(name, value, source="environment")
        for name, value in environment.items()
        if _is_given(name, value)
    ]
    for variable in given:  # a secret of the environment replaces one of the file, whichever form each has
        for form in _forms(variable.name):
            found.pop(form, None)
    found |= {variable.name: variable for variable in given}
    return tuple(sorted(found.values(), key=_place))


def loads_file_or_code(name: str) -> bool:
    """Whether a variable of a named mail server contains code that is run, or names a file with a secret."""
    parts = _VARIABLE.fullmatch(name)
    return parts is not None and parts["value"].lower() in _LOADED


def _is_given(name: str, value: str) -> bool:
    return name.startswith(PREFIX) and bool(value)


def _variable(name: str, value: str, *, source: str) -> ServerVariable:
    parts = _VARIABLE.fullmatch(name)
    if parts is None:
        known = ", ".join(sorted(each.upper() for each in VALUE_NAMES))
        raise ConfigurationError(
            f"{name} ({source}): this is not {PREFIX}<NAME>_ with one of {known}.",
            fix="Correct the name; <NAME> has letters A-Z, digits and underscores.",
        )
    server = parts["server"].lower().replace("_", "-")
    return ServerVariable(
        name=name, server=server, value_name=parts["value"].lower(), value=value, source=source
    )


def _forms(name: str) -> tuple[str, ...]:
    """Return a name and, for a secret, the other one under which it may be given."""
    return (name, name.removesuffix("_FILE"), f"{name}_FILE")


def _place(variable: ServerVariable) -> tuple[str, int]:
    return variable.server, VALUE_NAMES.index(variable.value_name)
