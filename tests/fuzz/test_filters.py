"""Filters of the dashboard: any query string is a search, or it is refused in one sentence."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st
from pydantic import SecretStr

from mailctl import runtime
from mailctl.domain.states import State
from mailctl.errors import InvalidInput, NotFound
from mailctl.settings import Settings
from mailctl.web.filters import EmailQuery
from tests.fuzz.cases import PROPERTY, try_cases

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(7200)
#: What one case may take, in bytes.
MEMORY = 4 * 1024 * 1024
TEXTS = st.text(max_size=60) | st.builds(
    lambda text, times: text * times, st.text(max_size=4), st.integers(1, 3000)
)
TIMES = st.sampled_from(["24h", "0m", "9" * 30 + "d", "2026-03-01", "0001-01-01T00:00:00-12:00", "-1h"])
CURSORS = st.none() | st.from_regex(r"\A\d{1,18}\Z")
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "state": st.lists(st.sampled_from(State) | TEXTS, max_size=2).map(tuple),
        "kind": st.lists(st.sampled_from(["welcome", "reset"]) | TEXTS, max_size=2).map(tuple),
        **dict.fromkeys(("user_id", "to", "queue", "campaign", "error"), TEXTS | st.just("%_\\\\\0")),
        **dict.fromkeys(("since", "until"), TIMES | TEXTS),
        "oldest_first": st.booleans(),
        "after": CURSORS,
    },
)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The database of the delivery log of this process."""
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/log.db" if is_sqlite else request.getfixturevalue("postgres_url")
    runtime.close()
    runtime.configure(Settings(mailctl_home=tmp_path, mailctl_database_url=SecretStr(url)))
    # Not measured: the first search sets up the log.
    query_emails({"to": "nobody"})
    yield request.param
    runtime.close()


def query_emails(values: dict[str, Any]) -> None:
    """A filter is searched for, or refused; the page and the command with the same filter have an address."""
    query = EmailQuery(**values)
    query.query_string(after=None)
    assert str(query.command()).isprintable()
    with suppress(InvalidInput, NotFound):
        assert query.page().emails == ()


def test_any_filter_is_taken_or_refused(database: str, is_long: bool, record_property: Any) -> None:
    """With no other error, and in bounded memory."""
    cases = try_cases(f"filters of the dashboard, {database}", FILTERS, query_emails, is_long=is_long)
    record_property(PROPERTY, cases.row)
    assert cases.octets < MEMORY
