"""Which directory the settings select."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import create_engine

from mailctl.errors import ConfigurationError, InvalidInput
from mailctl.settings import Settings
from mailctl.users import (
    EmbeddedUserDirectory,
    ServiceUserDirectory,
    open_user_directory,
    require_embedded_directory,
)

ENGINE = create_engine("sqlite://")


def opened(**settings: Any) -> ServiceUserDirectory | EmbeddedUserDirectory:
    return open_user_directory(Settings(**settings), ENGINE)


def test_the_users_of_the_service_come_first() -> None:
    """They are only read."""
    directory = opened(database_url="sqlite:///app.db")
    assert isinstance(directory, ServiceUserDirectory)
    with pytest.raises(ConfigurationError, match="only reads") as caught:
        require_embedded_directory(directory)
    assert "DATABASE_URL" in caught.value.fix


def test_without_a_service_there_is_a_table_of_mailctl() -> None:
    """It can be changed."""
    directory = opened()
    assert require_embedded_directory(directory) is directory


@pytest.mark.parametrize("user_id", ["", "x" * 65, "a\nb"])
def test_an_impossible_id_is_refused_before_the_database_is_opened(user_id: str) -> None:
    """The file does not even exist."""
    with pytest.raises(InvalidInput, match="1 to 64 printable characters"):
        opened(database_url="sqlite:///nope/app.db").get(user_id)


def test_one_query_alone_cannot_list_users() -> None:
    """The description says which setting is missing."""
    directory = opened(database_url="sqlite:///app.db", mailctl_users_query="SELECT :id")
    assert isinstance(directory, ServiceUserDirectory)
    assert "MAILCTL_USERS_LIST_QUERY is not set" in directory.describe_eligibility()
