"""The document in the frame of an email, and the policy of the page around it."""

from __future__ import annotations

import pytest

from mailctl.web.email_frame import FRAME_PAGE_CSP, frame_document
from mailctl.web.routing import PAGE_CSP


def test_the_document_starts_with_its_policy() -> None:
    """A policy in the document applies only to what follows it."""
    document = frame_document("<!doctype html><title>Hi</title><p>Hello</p>")
    policy, _, rest = document.partition("><base")
    assert policy.startswith('<!doctype html><meta http-equiv="Content-Security-Policy" content="default-src')
    assert rest.endswith("<p>Hello</p>")


@pytest.mark.parametrize(
    "element", ["link rel=preconnect", "LINK/rel=icon", "iframe", "frame", "object", "embed"]
)
def test_the_document_connects_to_no_host(element: str) -> None:
    """A browser does so before the policy forbids the request, for an element that is none afterwards."""
    document = frame_document(f'<p>Hello</p><{element} href="https://evil.example"><linked>')
    assert document.endswith(f'<p>Hello</p><x-{element} href="https://evil.example"><linked>')


def test_an_email_without_html_has_an_empty_document() -> None:
    """With a title, which screen readers announce."""
    assert "No HTML part" in frame_document("")


def test_the_page_around_it_allows_inline_styles_and_no_more() -> None:
    """The document inherits the policy of the page, and emails have inline styles."""
    added = set(FRAME_PAGE_CSP.split()) - set(PAGE_CSP.split())
    assert added == {"'unsafe-inline';"}
    assert "script-src 'self';" in FRAME_PAGE_CSP
