"""Checks of the HTML of an email."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.checks.finding import FindingStatus
from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.rendering.templates import MAX_HTML
from mailctl.web.preview_checks import CheckedPreview, check_html, with_color_scheme

if TYPE_CHECKING:
    from mailctl.checks.finding import Finding


def findings(html: str) -> dict[str, Finding]:
    """Return the findings about HTML, by name."""
    return {finding.name: finding for finding in check_html(html, message_size=1234)}


@pytest.mark.parametrize(
    ("href", "status"),
    [
        ("https://example.com/x", FindingStatus.OK),
        ("mailto:zoe@example.com", FindingStatus.OK),
        ("tel:+49-30-1234", FindingStatus.OK),
        ("/reset", FindingStatus.FAIL),
        ("#", FindingStatus.FAIL),
        ("", FindingStatus.FAIL),
        ("https://", FindingStatus.FAIL),
    ],
)
def test_links_must_be_absolute(href: str, status: FindingStatus) -> None:
    """A mail client has no page that they could be relative to."""
    for html in (f'<a href="{href}">x</a>', f"<A class=b href='{href}'>x</A>"):
        assert findings(html)["links"].status is status


def test_external_resources_are_named_once() -> None:
    """A link that the reader has to follow is none."""
    html = '<img src="https://cdn.example/a.png"><img src="https://cdn.example/a.png">'
    found = findings(f'{html}<a href="https://example.com">x</a>')
    assert found["external resources"].detail == "https://cdn.example/a.png"
    assert "external resources" not in findings('<img src="data:image/png;base64,x">')


def test_html_that_gmail_would_clip_is_reported() -> None:
    """Before it reaches the limit of mailctl."""
    assert findings("x" * (MAX_HTML * 3 // 4 + 1))["size"].status is FindingStatus.WARN
    assert findings("short")["size"].detail == "5 bytes of HTML, 1,234 bytes in total"


def test_the_worst_contrast_is_named() -> None:
    """In light and in dark mode."""
    found = findings('<p style="color:#999999">faint</p><p style="color:#cccccc">fainter</p>')
    assert found["contrast, light"].detail == "1.61:1, #cccccc on #ffffff: “fainter”"
    assert found["contrast, dark"].status is FindingStatus.WARN
    assert findings("<p>black</p>")["contrast, light"].status is FindingStatus.OK


def test_a_color_scheme_can_be_forced() -> None:
    """Whatever the browser prefers."""
    html = "@media ( prefers-color-scheme:  dark ) {}"
    assert [with_color_scheme(html, dark=dark) for dark in (True, False)] == [
        "@media all {}",
        "@media not all {}",
    ]


def test_the_version_changes_with_the_content() -> None:
    """The headers have the time of the preview, and do not count."""
    kind = BUILT_IN_KINDS["welcome"]
    versions = {
        CheckedPreview(kind=kind, subject=subject, headers=headers).version
        for subject in ("Hi", "Hello")
        for headers in ((), (("Date", "today"),))
    }
    assert len(versions) == 2
