"""MAILCTL_LINK_PATHS: where the links of a service lead."""

from __future__ import annotations

import pytest

from mailctl.domain.catalog import RESET, VERIFICATION
from mailctl.domain.link_paths import parse_link_paths
from mailctl.errors import ConfigurationError

BASE = "https://shop.example/app/"
[RESET_LINK], [VERIFICATION_LINK] = RESET.links, VERIFICATION.links
TOKEN = "eyJh.eyJz+x=.s_-~"


@pytest.mark.parametrize(
    ("setting", "url"),
    [
        ("", "/reset-password?t="),
        ("verify-email=/v", "/reset-password?t="),
        ("reset-password=/auth/reset", "/auth/reset?t="),
        (" reset-password = /reset?token={token} , verify-email=/v", "/reset?token="),
        ("reset-password=/reset?lang=en&token={token}", "/reset?lang=en&token="),
        ("reset-password=/r/{token}", "/r/"),
        ("reset-password=/#/reset?token={token}", "/#/reset?token="),
    ],
)
def test_a_path_is_set_for_its_purpose(setting: str, url: str) -> None:
    """With the parameter's name; a plus in a token would be read as a space."""
    paths = parse_link_paths(setting, base=BASE)
    assert paths.url(RESET_LINK, TOKEN) == f"https://shop.example/app{url}eyJh.eyJz%2Bx%3D.s_-~"


def test_text_may_follow_the_token() -> None:
    """As in the routes of some services."""
    paths = parse_link_paths("reset-password=/u/{token}/password?x=1", base=BASE)
    assert paths.url(RESET_LINK, "a/b") == "https://shop.example/app/u/a%2Fb/password?x=1"
    assert paths.url(VERIFICATION_LINK, "abc") == "https://shop.example/app/verify-email?t=abc"
    assert paths.purposes == {"reset-password"}


@pytest.mark.parametrize(
    "setting",
    [
        "/reset",
        "reset-password",
        "=/reset",
        "reset-password=reset",
        "reset-password=//evil.example/x",
        "reset-password=https://evil.example/",
        "reset-password=/a/../b",
        "reset-password=/a b",
        'reset-password=/a"b',
        "reset-password=/a\\b",
        "reset-password=/{token}/{token}",
        "reset-password=/{t}",
        "reset-password=/reset?token=",
        "reset-password=/a,reset-password=/b",
    ],
)
def test_other_values_are_configuration_errors(setting: str) -> None:
    """The fix shows an example."""
    with pytest.raises(ConfigurationError, match="MAILCTL_LINK_PATHS") as caught:
        parse_link_paths(setting, base=BASE)
    assert "{token}" in caught.value.fix


def test_tokens_in_a_path_have_patterns() -> None:
    """Nothing in the form of such a URL says that it holds a secret."""
    paths = parse_link_paths("reset-password=/r/{token}/x,verify-email=/v?t={token}", base=BASE)
    [pattern] = paths.token_patterns()
    text = "Open https://shop.example/app/r/swordfish/x or https://shop.example/app/rx/swordfish."
    assert pattern.sub("***", text) == (
        "Open https://shop.example/app/r/***/x or https://shop.example/app/rx/swordfish."
    )
