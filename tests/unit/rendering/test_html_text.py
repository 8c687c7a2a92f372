"""HTML is converted to the text that a reader would see."""

from __future__ import annotations

import pytest

from mailctl.rendering.html_text import html_to_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>one  two\nthree</p><p>four</p>", "one two three\n\nfour"),
        ("one<br>two<br/>three", "one\ntwo\nthree"),
        ("<ul><li>a</li><li>b</li></ul>", "- a\n\n- b"),
        ('<a href="https://x.example/y">Open</a>', "Open <https://x.example/y>"),
        ('<a href="https://x.example">https://x.example</a>', "https://x.example"),
        ("<a>no target</a>", "no target"),
        ('<img alt="Logo" src="x.png">', "[Logo]"),
        ('<img src="x.png">', ""),
        ("a &amp; b &lt;c&gt;", "a & b <c>"),
        ("<table><tr><td>a</td></tr><tr><td>b</td></tr></table>", "a\n\nb"),
        ("<table><tr><th>a</th><td>b</td><td>c</td></tr></table>", "a b c"),
    ],
)
def test_visible_text_is_kept(html: str, text: str) -> None:
    """With paragraphs, lists, links and the alternative text of images."""
    assert html_to_text(html) == text


@pytest.mark.parametrize(
    "html",
    [
        "<head><title>x</title></head>",
        "<style>p { color: red }</style>",
        "<script>alert(1)</script>",
        '<div style="display: none">x</div>',
        "<p hidden>x</p>",
        '<div style="DISPLAY:NONE"><p>x<br></p></div>',
    ],
)
def test_hidden_text_is_dropped(html: str) -> None:
    """What follows it is kept."""
    assert html_to_text(html) == ""
    assert html_to_text(f"{html}shown") == "shown"


def test_html_that_is_not_closed_is_read() -> None:
    """As browsers do."""
    assert html_to_text("<p>one<b>two") == "onetwo"
    assert html_to_text("one</p></div>") == "one"
