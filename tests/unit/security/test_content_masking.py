"""Links and tokens are masked in displayed texts."""

from __future__ import annotations

import pytest

from mailctl.domain.link_paths import parse_link_paths
from mailctl.domain.models import Content, User
from mailctl.rendering.html_text import html_to_text
from mailctl.security.content_masking import SecretMasker
from tests.tokens import hs256

JWT = hs256({"sub": "7", "type": "reset"})
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
        (f"https://shop.example/reset?t={JWT}", "https://shop.example/reset?t=***"),
        (f"https://shop.example/reset/{JWT}", "https://shop.example/reset/***"),
        (f"https://shop.example/#/reset/{JWT}", "https://shop.example/#***"),
        (f"Or type in {JWT}.", "Or type in ***."),
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


def test_secrets_are_found_at_any_depth() -> None:
    """In objects and lists, and percent-encoded."""
    context = {"user": {"login_code": "swordfish"}, "keys": [{"value": "a+b/c"}], "is_keyed": True, "n": 7}
    masker = SecretMasker(Content(user=USER, context=context))
    assert masker.mask("swordfish, a+b/c or a%2Bb/c; True, 7") == "***, *** or ***; True, 7"


def test_a_token_in_the_path_of_a_link_is_masked() -> None:
    """Where the settings say that it is one, whatever it looks like."""
    [pattern] = parse_link_paths("reset-password=/r/{token}", base="https://shop.example").token_patterns()
    text = "https://shop.example/r/letters and https://shop.example/rules"
    assert SecretMasker(token_patterns=[pattern]).mask(text) == (
        "https://shop.example/r/*** and https://shop.example/rules"
    )


@pytest.mark.parametrize(
    ("reply", "masked"),
    [
        ("blocked https://shop.example/r?t=swordfish", "blocked https://shop.example/r?t=***"),
        ("blocked https://shop.example/r?t=swor...", "blocked https://shop.example/r?t=***"),
        ("blocked swordfish", "blocked ***"),
        (f"blocked {JWT}", "blocked ***"),
        ("see https://mail.example/help?p=spam 550123", "see https://mail.example/help?p=spam 550123"),
    ],
)
def test_the_reply_of_a_mail_server_keeps_all_but_the_links(reply: str, masked: str) -> None:
    """Operators need its other URLs and numbers."""
    content = Content(user=USER, tokens={"token": "swordfish"})
    masker = SecretMasker(content, ["https://shop.example/r?t=swordfish"])
    assert masker.mask_known(reply) == masked


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


STYLED = """<!doctype html><html><head><title>Code 482910</title>
<style>@media (prefers-color-scheme: dark) {
body { background-color:#101214 } .box-a1b2c3d4e5f6a7b8c9d0e1f2 {} }</style>
<!--[if mso]><style>p { color:#202428 }</style><p>Code 482910</p><![endif]--></head>
<body style="background-color:#101214" bgcolor=#101214 class="box-a1b2c3d4e5f6a7b8c9d0e1f2">
<p style='color:#123456; background:url(https://shop.example/i?t=abc)' title="482910">Your code is 482910.</p>
<a href="https://shop.example/reset?t=abc">Reset</a></body></html>"""


def test_styles_of_html_are_not_masked() -> None:
    """A colour looks like a code; an email without its colours may be white on white."""
    masked = SecretMasker().mask_html(STYLED)
    for kept in (
        "background-color:#101214 }",
        ".box-a1b2c3d4e5f6a7b8c9d0e1f2 {}",
        "p { color:#202428 }",
        'style="background-color:#101214" bgcolor=#101214 class="box-a1b2c3d4e5f6a7b8c9d0e1f2"',
        "color:#123456;",
    ):
        assert kept in masked


def test_secrets_in_html_are_masked_wherever_they_are() -> None:
    """In texts, comments, attributes, and URLs of styles; also where the HTML is malformed."""
    token = "a-long-token-of-the-service"
    content = Content(user=USER, tokens={"token": token})
    broken = f'<p title=">" data-x="482910"><a href="https://shop.example/r?t={token}" 482910 <style>{token}'
    masked = SecretMasker(content).mask_html(STYLED + broken)
    for secret in ("482910", "t=abc", token):
        assert secret not in masked
    assert 'href="https://shop.example/reset?t=***"' in masked
