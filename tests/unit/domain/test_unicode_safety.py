"""Characters that hide, reorder or control, and text that becomes a link."""

from __future__ import annotations

import pytest

from mailctl.domain.unicode_safety import (
    escape_controls,
    escape_controls_as_line,
    escape_json_controls,
    first_unprintable,
    has_controls,
    has_stacked_marks,
    is_link_like,
    mixes_scripts,
    shorten_quotes,
)


@pytest.mark.parametrize(
    "text",
    [
        "Zoë",
        "Ada Lovelace",
        "李小龍",
        "محمد",
        "Ni\u200cma",
        "👩‍👧",
        "\U0001f3f4\U000e0067\U000e0062\U000e007f",
    ],
)
def test_names_are_printable(text: str) -> None:
    """With joiners and flags."""
    assert first_unprintable(text) is None


@pytest.mark.parametrize(
    "char",
    [
        "\n",
        "\x00",
        "\x7f",
        "\x9b",
        "\u2028",
        "\u202e",
        "\u2066",
        "\u200b",
        "\u3164",
        "\ud800",
        "\ue000",
        "\U000e0067",
    ],
)
def test_hidden_and_control_characters_are_found(char: str) -> None:
    """Wherever they are."""
    assert first_unprintable(f"Zo{char}ë") == char


def test_control_characters_are_escaped() -> None:
    """Line feeds and tabs only where one line is wanted."""
    text = "a\n\tb\x1b[2J\u202e"
    assert has_controls(text)
    assert escape_controls(text) == "a\n\tb\\x1b[2J\\u202e"
    assert escape_controls_as_line(text) == r"a\n\tb\x1b[2J\u202e"
    assert escape_json_controls('"\x9b"') == r'"\u009b"'
    assert not has_controls("Zoë")


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.example",
        "evil.com",
        "www.evil",
        "evil\u3002com",
        "ev\u200dil.co\u0301m",
        "me@evil",
        "<b>",
        "127.0.0.1",
        "javascript:alert(1)",
        "[x](y)",
        "%2e",
        "\uff45vil\uff0ecom",
    ],
)
def test_text_that_becomes_a_link_is_found(text: str) -> None:
    """Also in disguise."""
    assert is_link_like(text)


@pytest.mark.parametrize(
    "text", ["Ada", "Dr. No", "J. R. R. Tolkien", "St. John", "O'Neil", "3.5", "Zoë-Ann"]
)
def test_names_are_not_links(text: str) -> None:
    """Despite their dots."""
    assert not is_link_like(text)


def test_stacked_marks_are_found() -> None:
    """Four are used by languages, more only cover other lines."""
    assert not has_stacked_marks("a" + "\u0301" * 4)
    assert has_stacked_marks("a" + "\u0301" * 5)


def test_mixed_scripts_are_found() -> None:
    """In letters that look alike."""
    assert mixes_scripts("p\u0430ypal")
    assert not mixes_scripts("почта")
    assert not mixes_scripts("日本abc")


#: What a stranger gives as a name, and why it is a link or is not one.
DECIDED = {
    # Windows programs open shares of networks, and send the password hash of the reader.
    "\\\\evil\\share": True,
    # People read it as a domain, and some programs restore the dot.
    "evil[.]com": True,
    "evil (dot) com": True,
    "evil[ dot ]com": True,
    "evil dot com": True,
    # Schemes that mail clients open; other words before a colon are text.
    "vbscript:x": True,
    "file:x": True,
    "callto:x": True,
    "Smith: Zoe": False,
    "Dot Cotton": False,
    "Dot": False,
    "Zoe (Dot) Smith": True,
    "Marie-Claire d'Arc": False,
    "C\\D": False,
}


@pytest.mark.parametrize(("text", "is_link"), DECIDED.items())
def test_each_disguise_of_a_link_is_decided(text: str, is_link: bool) -> None:
    """What is refused costs a greeting its name, nothing else."""
    assert is_link_like(text) is is_link


def test_a_message_quotes_the_beginning_and_the_end_of_a_long_value() -> None:
    """What it says about the value stays."""
    assert shorten_quotes("'abc' is not a number.") == "'abc' is not a number."
    shown = shorten_quotes(f"--limit: '{'9' * 100_000}' is not a number.")
    assert shown.startswith("--limit: '999")
    assert shown.endswith("999' is not a number.")
    assert len(shown) < 2010
