"""The options of connection URLs are known by name and form."""

from __future__ import annotations

import pytest

from mailctl.settings.connection_urls.options import (
    POSTGRESQL_OPTIONS,
    REDIS_OPTIONS,
    REDIS_RESULT_OPTIONS,
    option_problem,
    word_set,
)


def test_known_options_are_accepted() -> None:
    """With values of their form; other values are left to the driver."""
    options = [("connect_timeout", "3"), ("sslmode", "anything"), ("prepare_threshold", "NONE")]
    assert option_problem(options, POSTGRESQL_OPTIONS) == ("", "")
    assert option_problem([], REDIS_OPTIONS) == ("", "")


def test_an_unknown_option_is_not_quoted() -> None:
    """It may be part of a password; a similar name is suggested."""
    reason, fix = option_problem([("hunter2", "x")], REDIS_OPTIONS)
    assert "hunter2" not in reason + fix
    assert fix == "Remove it."
    assert option_problem([("ssl_cert_req", "x")], REDIS_OPTIONS)[1] == "Did you mean ssl_cert_reqs?"


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("socket_timeout", "soon", "Use a number."),
        ("ssl_cert_reqs", "maybe", "Use required, optional or none."),
        ("db", "-1", "Use a number."),
    ],
)
def test_a_value_of_another_form_is_refused(name: str, value: str, fix: str) -> None:
    """With the form that it must have."""
    reason, found = option_problem([(name, value)], REDIS_RESULT_OPTIONS)
    assert f"option {name} " in reason
    assert found == fix
    assert value not in reason.removeprefix("has an option")


def test_words_become_a_set() -> None:
    """Whatever the spaces between them."""
    assert word_set(" a  b\nc a") == {"a", "b", "c"}
