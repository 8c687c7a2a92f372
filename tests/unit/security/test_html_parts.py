"""The parts of an HTML source: texts and values are masked in one way, styles in another."""

from __future__ import annotations

import pytest

from mailctl.security.html_parts import mask_html


def mask(source: str) -> str:
    """Return a source with its texts in capitals, and `~` for each character of a style."""
    return mask_html(source, text=str.upper, style=lambda css: "~" * len(css))


@pytest.mark.parametrize(
    ("source", "masked"),
    [
        ("a<b>c</b>", "A<b>C</b>"),
        ("<a href='x' color=red>y</a>", "<a href='X' color=~~~>Y</a>"),
        ("<style>p{}</style>a", "~" * 18 + "A"),
        ("<!-- <a href=x>y</a> -->z", "<!-- <a href=X>Y</a> -->Z"),
        ("<!-- <style>p{}</style> -->z", f"<!-- {'~' * 18} -->Z"),
        ("<!---->a", "<!---->A"),
    ],
)
def test_each_part_is_masked_in_its_own_way(source: str, masked: str) -> None:
    """Tags and the names of attributes stay, also in comments, which some mail programs read."""
    assert mask(source) == masked


@pytest.mark.parametrize(
    "source", ["<!-- a <b c='d'>", "<!-- a <!-- b", "<style>p{} <b>", "a < b", "<b c='d"]
)
def test_what_is_not_closed_is_text(source: str) -> None:
    """It is masked as strictly as any text."""
    assert mask(source) == source.upper()


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece", ["<!--", "<style>", "<style ", "<style></style ", "<a ", '<a x="', "x", "<!-- -->"]
)
def test_the_time_is_linear_to_the_length(piece: str) -> None:
    """A stranger may have written what is shown; the end of a part is not searched for twice."""
    source = piece * (500_000 // len(piece))
    for each in (source, f"<a {source}>"):
        assert mask(each).upper().startswith(("<", "X"))
