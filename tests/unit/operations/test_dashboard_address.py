"""The address of the dashboard that an operator names."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from mailctl.errors import InvalidInput, ServiceUnavailable
from mailctl.operations.dashboard_address import dashboard_address

if TYPE_CHECKING:
    from mailctl.runtime import Runtime

NO_RUNTIME = cast("Runtime", None)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://localhost/",
        "localhost:8025",
        "http://",
        "http://[",
        "http://a@b/",
        "http://h/?q=1",
        "http://h:x/",
    ],
)
def test_what_is_no_address_of_a_site_is_refused(url: str) -> None:
    """By the parser that also reads FRONTEND_URL; nothing is asked."""
    with pytest.raises(InvalidInput, match="--url"):
        dashboard_address(NO_RUNTIME, None, url=url)


def test_where_no_dashboard_answers_the_command_says_how_to_start_one() -> None:
    """A browser would show an error of its own."""
    with pytest.raises(ServiceUnavailable, match=r"http://127\.0\.0\.1:1") as failed:
        dashboard_address(NO_RUNTIME, None, url="http://127.0.0.1:1/mail/")
    assert "mailctl web" in (failed.value.fix or "")
