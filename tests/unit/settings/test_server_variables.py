"""MAILCTL_SERVER_<NAME>_*: which server and which value a variable is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.errors import ConfigurationError
from mailctl.settings import Settings
from mailctl.settings.server_variables import read_server_variables

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "server", "value_name"),
    [
        ("BACKUP_HOST", "backup", "host"),
        ("EU_WEST_1_PORT", "eu-west-1", "port"),
        ("BACKUP_DATA_TIMEOUT_SECONDS", "backup", "data_timeout_seconds"),
        ("BACKUP_TIMEOUT_SECONDS", "backup", "timeout_seconds"),
        ("BACKUP_OAUTH_TOKEN_COMMAND_FILE", "backup", "oauth_token_command_file"),
        ("HOST_HOST", "host", "host"),
    ],
)
def test_the_name_of_a_variable_says_server_and_value(name: str, server: str, value_name: str) -> None:
    """Underscores of a server's name stand for hyphens."""
    [found] = read_server_variables({f"MAILCTL_SERVER_{name}": "x"}, {}, file=".env")
    assert (found.server, found.value_name, found.source) == (server, value_name, "environment")


def test_the_environment_comes_first() -> None:
    """A secret of the environment replaces one of the file in whichever form; empty values are not set."""
    file = {"MAILCTL_SERVER_A_PASSWORD": "old", "MAILCTL_SERVER_A_HOST": "a", "MAILCTL_SERVER_A_PORT": ""}
    given = {"MAILCTL_SERVER_A_PASSWORD_FILE": "/run/secrets/a", "MAILCTL_SERVER_A_HOST": ""}
    found = read_server_variables(given, file, file=".env")
    assert [(each.value_name, each.value, each.source) for each in found] == [
        ("host", "a", ".env"),
        ("password_file", "/run/secrets/a", "environment"),
    ]


def test_a_value_does_not_show_by_accident() -> None:
    """Not in the text of the object."""
    assert "hunter2" not in repr(read_server_variables({"MAILCTL_SERVER_A_PASSWORD": "hunter2"}, {}, file=""))


@pytest.mark.parametrize("value_name", ["OAUTH_TOKEN", "OAUTH_TOKEN_COMMAND", "OAUTH_TOKEN_COMMAND_FILE"])
def test_code_of_strangers_is_refused(
    value_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of EMAIL_OAUTH_TOKEN; the address of a server is no code."""
    (tmp_path / ".env").write_text(f"MAILCTL_SERVER_A_HOST=a\nMAILCTL_SERVER_A_{value_name}=x:y\n")
    (tmp_path / ".env").chmod(0o666)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=f"sets MAILCTL_SERVER_A_{value_name}, which loads code"):
        Settings.load()
