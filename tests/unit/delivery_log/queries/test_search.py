"""Search: filters, orders and cursors."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.delivery_log.queries.search import EmailFilter, Sort, count_by_state, count_matching, search
from mailctl.domain.states import State
from mailctl.errors import InvalidInput

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log


@pytest.mark.parametrize("text", ["x" * 501, "a\0b", "\ud800"])
@pytest.mark.parametrize("name", ["user_id", "to", "queue", "campaign", "error"])
def test_no_database_is_asked_for_such_a_text(name: str, text: str) -> None:
    """It is refused before."""
    given: dict[str, Any] = {name: text}
    with pytest.raises(InvalidInput):
        EmailFilter(**given)


def test_an_empty_filter_matches_all() -> None:
    """Any condition makes it another."""
    assert EmailFilter().matches_all
    assert not EmailFilter(states=[State.SENT]).matches_all


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (EmailFilter(to="U1@"), ["u1"]),
        (EmailFilter(to="%"), []),
        (EmailFilter(states=[State.FAILED], error="REFUSED"), ["u2"]),
        (EmailFilter(stopped_by="hold-1"), ["u1"]),
        (EmailFilter(stopped_by="hold"), []),
        (EmailFilter(maybe_sent=True), ["u0"]),
        (EmailFilter(kinds=["reset"]), []),
        (EmailFilter(max_seq=2), ["u0", "u1"]),
    ],
)
def test_conditions_compose(log: Log, wanted: EmailFilter, expected: list[str]) -> None:
    """Texts in any case, and without wildcards."""
    ids = [log.add(f"u{n}@example.com") for n in range(3)]
    log.change(ids[2], state=State.FAILED, error="refused at rcpt (hold-1)")
    log.change(ids[1], stopped_by="hold-1")
    log.change(ids[0], maybe_sent=True)
    found = search(log.engine, wanted, limit=9, oldest_first=True).emails
    assert [email.to[:2] for email in found] == expected
    assert count_matching(log.engine, wanted) == len(expected)
    assert sum(count_by_state(log.engine, wanted).values()) == len(expected)


@pytest.mark.parametrize("sort", Sort)
@pytest.mark.parametrize("oldest_first", [True, False])
def test_pages_have_every_email_once(log: Log, sort: Sort, oldest_first: bool) -> None:
    """In every order, also where emails are equal in it."""
    ids = [log.add(f"u{n % 2}@example.com") for n in range(5)]
    log.change(ids[0], updated_at=log.now + timedelta(seconds=1), state=State.SENT)
    found, cursor = [], None
    while True:
        page = search(log.engine, EmailFilter(), limit=2, after=cursor, oldest_first=oldest_first, sort=sort)
        found += [email.id for email in page.emails]
        cursor = page.cursor
        if cursor is None:
            break
    assert sorted(found) == sorted(ids)


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1:b", str(2**63)])
def test_a_cursor_of_another_list_is_refused(log: Log, cursor: str) -> None:
    """Nothing would be where it points to."""
    with pytest.raises(InvalidInput):
        search(log.engine, EmailFilter(), limit=1, after=cursor)
