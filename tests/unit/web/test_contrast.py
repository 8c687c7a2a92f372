"""Contrast as WCAG 2.2 defines it, and the text of an email that has too little of it."""

from __future__ import annotations

import pytest

from mailctl.web.contrast import contrast_ratio, find_low_contrast

DARK = (
    "<style>@media (prefers-color-scheme: dark)"
    " { .card { background-color: #1b1e22 !important; } %s }</style>"
)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [("#000", "#ffffff", 21.0), ("#777777", "#fff", 4.48), ("#fff", "#fff", 1.0)],
)
def test_the_ratio_is_that_of_the_standard(one: str, other: str, expected: float) -> None:
    """Known values, in any order and notation."""
    assert contrast_ratio(one, other) == pytest.approx(expected, abs=0.01)
    assert contrast_ratio(other, one) == contrast_ratio(one, other)


def test_styles_are_inherited() -> None:
    """Colour and background may come from different elements."""
    html = '<div style="background-color:#ffffff"><p style="color:#999999">dim <b>too</b></p></div>'
    assert [(each.text, each.ratio) for each in find_low_contrast(html, dark=False)] == [
        ("dim", 2.85),
        ("too", 2.85),
    ]


def test_large_text_needs_less_contrast() -> None:
    """3:1 is enough from 24 px, or bold from 18.66 px."""
    html = '<p style="color:#888888;font-size:{}px;font-weight:{}">words</p>'
    found = [
        bool(find_low_contrast(html.format(*look), dark=False)) for look in ((16, 400), (24, 400), (19, 700))
    ]
    assert found == [True, False, False]


def test_the_rules_for_dark_mode_apply_in_dark_mode() -> None:
    """A class without such a rule keeps its light colours on the dark background."""
    html = '<td class="card" bgcolor="#ffffff"><p class="text" style="color:#1f2328">words</p></td>'
    assert find_low_contrast(DARK % "" + html, dark=False) == []
    assert [each.text for each in find_low_contrast(DARK % "" + html, dark=True)] == ["words"]
    assert find_low_contrast(DARK % ".text { color: #e8eaed !important; }" + html, dark=True) == []


def test_hidden_text_is_ignored() -> None:
    """Such as the preview text that mail clients show in their list."""
    assert find_low_contrast('<div style="display:none;color:#fff">hidden</div>', dark=False) == []
