"""The filters of the list of emails."""

from __future__ import annotations

from urllib.parse import parse_qs

from mailctl.web.filters import DEFAULT_PAGE_SIZE, EmailQuery, read_email_query

QUERY = EmailQuery(state=("held", "failed"), to="zoe+x@example.com", since="24h", limit=5, oldest_first=True)


def test_the_next_page_has_the_same_filters() -> None:
    """The cursor is the only difference."""
    first, second = (parse_qs(QUERY.query_string(after=after)) for after in (None, "12"))
    assert second == first | {"after": ["12"]}
    assert first == {
        "state": ["held", "failed"],
        "to": ["zoe+x@example.com"],
        "since": ["24h"],
        "oldest_first": ["true"],
        "limit": ["5"],
    }


def test_defaults_are_left_out_of_the_address() -> None:
    """A list without filters has an empty query string."""
    query = EmailQuery(limit=DEFAULT_PAGE_SIZE)
    assert (query.query_string(after=None), query.has_filters) == ("", False)


def test_the_command_has_the_same_filters() -> None:
    """Without the size of the page, which is that of the dashboard."""
    assert str(QUERY.command()) == (
        "mailctl list --state held --state failed --to zoe+x@example.com --since 24h --oldest-first"
    )


def test_the_order_is_no_filter() -> None:
    """It is among the further ones, though, which the page then shows."""
    query = EmailQuery(oldest_first=True)
    assert (query.has_filters, query.has_more_filters) == (False, True)
    assert (EmailQuery(to="zoe").has_filters, EmailQuery(to="zoe").has_more_filters) == (True, False)


def test_empty_fields_of_a_form_do_not_count() -> None:
    """Spaces around a value do not either."""
    query = read_email_query(state=["", "held"], kind=[""], to=" zoe ", since=" ")
    assert query == EmailQuery(state=("held",), to="zoe")
