"""API keys: which texts open the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.api_keys import MAX_NAME_LENGTH, ApiKeys, parse_key_id
from mailctl.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"mk_01ab23cd_{'s' * 43}", "01ab23cd"),
        (f"mk_01ab23cd_{'s_-' * 14}s", "01ab23cd"),
        ("mk_01ab23cd", ""),
        ("mk_01ab23cd_short", ""),
        (f"mk_01ab23cx_{'s' * 43}", ""),
        (f"mk_01ab\0003cd_{'s' * 43}", ""),
        (f"mk_01ab23cd_{'s' * 42}\0", ""),
        (f"mk_01ab23cd_{'s' * 43}\n", ""),
        (f"xx_01ab23cd_{'s' * 43}", ""),
        ("", ""),
    ],
)
def test_the_id_is_within_the_key(text: str, expected: str) -> None:
    """A text of another form has none."""
    assert parse_key_id(text) == expected


@pytest.mark.parametrize("name", ["", "  ", "x" * (MAX_NAME_LENGTH + 1), "two\nlines"])
def test_a_name_is_one_printable_line(log: Log, name: str) -> None:
    """It is shown in tables."""
    with pytest.raises(InvalidInput):
        ApiKeys(log.engine).create(name)


def test_only_the_whole_key_opens_the_dashboard(log: Log) -> None:
    """Until it is revoked."""
    keys = ApiKeys(log.engine, clock=log.time)
    made = keys.create("grafana")
    assert keys.authenticate(f"{made.plaintext}x") is None
    assert keys.authenticate(made.plaintext) is not None
    keys.revoke(made.id)
    assert keys.authenticate(made.plaintext) is None
    assert not keys.has_valid()


def test_a_key_is_revoked_by_its_name_if_no_other_has_it(log: Log) -> None:
    """A key that was revoked does not count; of several, the id says which."""
    keys = ApiKeys(log.engine, clock=log.time)
    first, other = keys.create("grafana"), keys.create("kuma")
    assert keys.revoke("kuma").id == other.id
    named_like_it = keys.create(first.id)
    assert keys.revoke(first.id).id == first.id
    assert keys.revoke(named_like_it.id).id == named_like_it.id
    for _ in range(2):
        keys.create("grafana")
    with pytest.raises(NotFound):
        keys.revoke("grafana")


def test_the_last_use_is_recorded_once_a_minute(log: Log) -> None:
    """Not with every page."""
    keys = ApiKeys(log.engine, clock=log.time)
    made, first = keys.create("grafana"), log.now
    for seconds, expected in ((0, first), (59, first), (1, None)):
        log.forward(seconds)
        keys.authenticate(made.plaintext)
        assert keys.list()[0].last_used_at == (expected or log.now)


def test_an_unknown_key_cannot_be_revoked(log: Log) -> None:
    """The operator may have mistyped it."""
    with pytest.raises(NotFound):
        ApiKeys(log.engine).revoke("1a2b")
