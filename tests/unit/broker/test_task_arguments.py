"""An email becomes the arguments of its task, and the arguments become an email."""

from __future__ import annotations

from typing import Any

import pytest

from mailctl.broker.task_arguments import MAX_RECIPIENTS, from_arguments, to_arguments
from mailctl.domain.catalog import GENERIC, WELCOME
from mailctl.domain.models import Content, User
from mailctl.errors import InvalidInput

NO_ORIGINS: frozenset[str] = frozenset()
USER = User(email="zoe@example.com", id=7, username="zoe", first_name="Zoé")


def test_a_user_survives_the_way_to_the_task_and_back() -> None:
    """The id only if there is one."""
    arguments = to_arguments(WELCOME, Content(user=USER), urls={})
    assert arguments["user_data"]["id"] == 7
    [content] = from_arguments(WELCOME, arguments, origins=NO_ORIGINS)
    assert content.user.email == "zoe@example.com"
    without_id = to_arguments(WELCOME, Content(user=User(email="zoe@example.com")), urls={})
    assert "id" not in without_id["user_data"]


def test_the_number_of_recipients_is_limited() -> None:
    """There must be one at least."""
    arguments: dict[str, Any] = {
        "subject": "News",
        "template_name": "notice",
        "context": {},
    }
    for wrong in ([], "zoe@example.com", [{"email": "a@example.com"}] * (MAX_RECIPIENTS + 1)):
        with pytest.raises(InvalidInput, match=f"1 to {MAX_RECIPIENTS}"):
            from_arguments(GENERIC, {**arguments, "recipients": wrong}, origins=NO_ORIGINS)


@pytest.mark.parametrize("user_data", [None, "zoe", ["zoe"], {7: "x"}])
def test_user_data_must_be_an_object(user_data: Any) -> None:
    """With strings for names."""
    with pytest.raises(InvalidInput, match="not an object"):
        from_arguments(WELCOME, {"user_data": user_data}, origins=NO_ORIGINS)
