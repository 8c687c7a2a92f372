"""Links and tokens are masked in displayed texts."""

from __future__ import annotations

import pytest

from mailctl.domain.models import Content, User
from mailctl.rendering.html_text import html_to_text
from mailctl.security.content_masking import SecretMasker

USER = User(email="zoe@example.com")


@pytest.mark.parametrize(
    ("text", "covered"),
    [
        ("https://shop.example/reset?t=abc&u=1", "https://shop.example/reset?t=***&u=***"),
        ("https://shop.example/reset#abc", "https://shop.example/reset#***"),
        ("https://shop.example/reset/Zm9vYmFyYmF6MTIz", "https://shop.example/reset/***"),
        ("https://zoe:secret@shop.example/", "https://***@shop.example/"),
        ("https://shop.example/about-our-company", "https://shop.example/about-our-company"),
        ("Your code is 482910.", "Your code is ***."),
        ("See you on 2026-11-25 at 10:30.", "See you on 2026-11-25 at 10:30."),
        ("token: Zm9vYmFyYmF6MTIzNDU2Nzg5MA", "token: ***"),
        ("Ordinary words stay as they are, 12 of them.", "Ordinary words stay as they are, 12 of them."),
    ],
)
def test_links_and_tokens_are_masked(text: str, covered: str) -> None:
    """The target of a link stays readable."""
    assert SecretMasker().mask(text) == covered


def test_known_secrets_are_masked() -> None:
    """Tokens, links of other programs and variables with the name of a secret, also in HTML."""
    content = Content(
        user=USER,
        tokens={"token": "swordfish"},
        urls={"reset_url": "https://shop.example/r/letters"},
        context={"access_code": "a&b-c", "title": "Hello"},
    )
    text = "swordfish https://shop.example/r/letters a&b-c a&amp;b-c Hello"
    assert SecretMasker(content).mask(text) == "*** https://shop.example/r/*** *** *** Hello"


def test_html_is_read_as_text() -> None:
    """Paragraphs, lists and links; nothing of what is not seen."""
    html = (
        "<html><head><title>No</title><style>p{}</style></head><body><div style='display:none'>No<br>no</div>"
        "<p>Hello <b>Zoe</b>,</p><ul><li>one</li><li>two</li></ul>"
        "<p><a href='https://x.example/a'>Click</a> or <a href='https://x.example/'>https://x.example/</a></p>"
    )
    assert html_to_text(html) == (
        "Hello Zoe,\n\n- one\n\n- two\n\nClick <https://x.example/a> or https://x.example/"
    )
