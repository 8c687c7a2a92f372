"""URLs are split only where every driver splits them in the same way."""

from __future__ import annotations

import pytest

from mailctl.settings.connection_urls.parts import InvalidUrl, parse_options, parse_scheme, split_url


def test_a_url_has_parts() -> None:
    """User name and password are decoded."""
    parts = split_url("postgresql://app:p%40ss@[::1]:5432/shop?sslmode=require")
    assert (parts.scheme, parts.username, parts.password) == ("postgresql", "app", "p@ss")
    assert (parts.host, parts.port, parts.path) == ("[::1]", 5432, "shop")
    assert parts.options == (("sslmode", "require"),)
    assert str(parts) == "postgresql://app:p%40ss@[::1]:5432/shop?sslmode=require"


def test_missing_parts_are_told_apart() -> None:
    """No path is another URL than an empty one."""
    assert split_url("redis://").path is None
    assert split_url("redis:///").path == ""
    assert split_url("redis://h").port is None


def test_parts_do_not_show_the_password() -> None:
    """In logs and tracebacks."""
    assert "hunter2" not in repr(split_url("redis://:hunter2@h/0?password=hunter2"))


@pytest.mark.parametrize(
    "url",
    [
        "redis://:p@ss@h/0",
        "redis://:p/ss@h/0",
        "redis://:p#ss@h/0",
        "redis://:p%ss@h/0",
        "redis://:p?ss@h/0",
        "redis://h:99999/0",
        "redis://h:0/0",
        "redis://h:x/0",
        "redis://a b/0",
        "redis://:%ff@h/0",
    ],
)
def test_an_ambiguous_url_is_refused(url: str) -> None:
    """Without quoting a part of it; for Redis there is another way to give the password."""
    with pytest.raises(InvalidUrl) as caught:
        split_url(url)
    assert "ss" not in str(caught.value).replace("password", "").replace("passes", "")


@pytest.mark.parametrize("text", ["", "h/0", "//h/0", "1a://h", "a b://h"])
def test_a_text_without_scheme_is_not_a_url(text: str) -> None:
    """The error has an example."""
    with pytest.raises(InvalidUrl, match="is not a URL") as caught:
        parse_scheme(text, example="redis://h/0")
    assert "redis://h/0" in caught.value.fix


def test_options_are_decoded() -> None:
    """A value may contain an equals sign."""
    assert parse_options("a=b+c&d=e%26f&g=h=i") == (("a", "b c"), ("d", "e&f"), ("g", "h=i"))
    assert parse_options("") == ()
    for query in ("a", "=b", "a&b=c", "1=2"):
        with pytest.raises(InvalidUrl, match="NAME=VALUE"):
            parse_options(query)
