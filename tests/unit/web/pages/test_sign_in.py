"""Where a sign-in leads, and how much of a form is read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from starlette.requests import Request

from mailctl.errors import InvalidInput
from mailctl.web.pages.sign_in import _read_form, _safe_redirect_path
from tests.unit.web.requests import request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import Message


@pytest.mark.parametrize(
    ("prefix", "path", "expected"),
    [
        ("", "/emails?state=failed", "/emails?state=failed"),
        ("", "", "/"),
        ("", "https://evil.example/", "/"),
        ("", "//evil.example/", "/"),
        ("", "/\\evil.example/", "/"),
        ("", "/\t/evil.example/", "/"),
        ("", "javascript:alert(1)", "/"),
        ("/mail", "/mail/queues", "/mail/queues"),
        ("/mail", "/admin", "/mail/"),
        ("/mail", "/mailbox", "/mail/"),
    ],
)
def test_a_sign_in_leads_to_a_page_of_the_dashboard(prefix: str, path: str, expected: str) -> None:
    """Never to another site, whoever has made the link to the form."""
    assert _safe_redirect_path(request(prefix=prefix), path) == expected


def form(*chunks: bytes) -> Request:
    """Return a request with a body that comes in chunks; reading more than there are is an error."""
    waiting: Sequence[bytes] = list(chunks)

    async def receive() -> Message:
        assert isinstance(waiting, list)
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


def test_a_form_is_read_in_whichever_chunks_it_comes() -> None:
    """Of a field that is repeated, the last counts."""
    found = asyncio.run(_read_form(form(b"key=a&key=b%20", b"c&next=%2Femails")))
    assert found == {"key": "b c", "next": "/emails"}


def test_a_large_form_is_not_read_to_its_end() -> None:
    """Anybody can send one, without a key."""
    with pytest.raises(InvalidInput, match="larger"):
        asyncio.run(_read_form(form(b"x" * 4000, b"x" * 4000, b"never read")))
