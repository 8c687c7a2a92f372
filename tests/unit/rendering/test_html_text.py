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


#: What html.parser looks for the end of, again each time; some of it it does not take at all.
ENDLESS = [
    "<!--",
    "<!",
    "<![",
    "<![CDATA[",
    "<?",
    "</",
    "<a",
    "<a ",
    "<a b='",
    '<a b="',
    "<a b='<",
    "<div hidden></p>",
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", ENDLESS)
def test_the_time_is_linear_to_the_length(piece: str) -> None:
    """Of 2 MB html.parser alone would take minutes to hours; an attacker may have written a variable."""
    text = html_to_text(f"<p>before</p>{piece * (2_000_000 // len(piece))}")
    assert text.startswith("before")


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("a<!-- b -->c", "ac"),
        ("a<!-->b<!--->c", "abc"),
        ("a<!-- > --b -->c", "ac"),
        ("a<!-- never closed", "a"),
        ("<!doctype html><p>a</p>", "a"),
        ("a<?xml version='1.0'?>b", "ab"),
        ("a<![CDATA[x]]>b", "ab"),
        ("<!--[if mso]>outlook<![endif]-->all", "all"),
        ("<!--[if !mso]><!-->all<!--<![endif]-->", "all"),
        ("<![if !mso]>all<![endif]>", "all"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("a <b", "a <b"),
        ('<img alt="1 < 2">', "[1 < 2]"),
        ('<img alt="a > b">', "[a > b]"),
        ("<a href='https://a.example/?q=\"x\"'>q</a>", 'q <https://a.example/?q="x">'),
        (f"<a href='https://a.example/{'x' * 8000}'>q</a>", f"q <https://a.example/{'x' * 8000}>"),
        ("<br/>a<br>b", "a\nb"),
        ("<div hidden><p>x</div>y</p>z", "y\n\nz"),
    ],
)
def test_comments_are_left_out_and_tags_need_an_end(html: str, text: str) -> None:
    """As browsers read it."""
    assert html_to_text(html) == text
