"""URLs of web sites in settings: one reading, or none."""

from __future__ import annotations

import ipaddress
import string
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailctl.settings.connection_urls.parts import InvalidUrl
from mailctl.settings.connection_urls.web import parse_web_url

#: What hosts, ports and paths are made of, and what separates them from others.
LETTERS = "ab01.:/-_~%@[]"
HOSTS = st.sampled_from(["shop.example", "a_b.Example", "127.0.0.1", "[::1]", "[0:0::FF]"]) | st.text(
    "ab01.-_", min_size=1, max_size=8
)
PORTS = st.sampled_from(["", ":80", ":443", ":8443"])
PATHS = st.lists(st.text("aB0~._-", max_size=3) | st.just("%C3%A9"), max_size=3).map(
    lambda segments: "".join(f"/{segment}" for segment in segments)
)
PLAIN = st.builds("{}://{}{}{}".format, st.sampled_from(["http", "https", "HTTPS"]), HOSTS, PORTS, PATHS)
DEFAULT_PORTS = {"http": 80, "https": 443}


def insert(text: str, position: int, more: str) -> str:
    """Return a text with more in it."""
    place = position % (len(text) + 1)
    return text[:place] + more + text[place:]


ALMOST_PLAIN = st.builds(
    insert, PLAIN, st.integers(min_value=0, max_value=60), st.characters() | st.sampled_from(string.printable)
)
ANY = (
    PLAIN
    | ALMOST_PLAIN
    | st.builds("https://{}".format, st.text(LETTERS, max_size=12) | st.text(max_size=40))
    | st.text(max_size=40)
)

REFUSED = {
    "user name": "https://shop.example@evil.example",
    "password": "https://user:secret@shop.example",
    "empty user name": "https://@shop.example",
    "backslash": "https://shop.example\\@evil.example",
    "backslashes for slashes": "https:\\\\evil.example",
    "line feed": "https://shop.example\n",
    "carriage return": "https://shop.example\r\nBcc: x@evil.example",
    "tab": "https://shop\t.example",
    "NUL": "https://shop.example\0",
    "space": "https://shop.example /x",
    "query": "https://shop.example?next=https://evil.example",
    "empty query": "https://shop.example/x?",
    "fragment": "https://shop.example/#x",
    "dot segments": "https://shop.example/a/../b",
    "dot segment at the end": "https://shop.example/.",
    "encoded dot segments": "https://shop.example/%2e%2E/b",
    "encoded slash": "https://shop.example/a%2fb",
    "encoded line feed": "https://shop.example/%0a",
    "double quote": 'https://shop.example/"onmouseover=alert(1)',
    "single quote": "https://shop.example/'",
    "markup": "https://shop.example/<script>",
    "braces": "https://shop.example/{token}",
    "empty segment": "https://shop.example//evil.example",
    "two slashes at the end": "https://shop.example//",
    "scheme": "javascript://shop.example",
    "scheme without slashes": "https:shop.example",
    "three slashes": "https:///shop.example",
    "no scheme": "shop.example",
    "no host": "https://",
    "port of letters": "https://shop.example:port",
    "port too large": "https://shop.example:65536",
    "port zero": "https://shop.example:0",
    "no port after the colon": "https://shop.example:",
    "letters outside ASCII": "https://sh\u043ep.example",
    "full stop of another script": "https://shop\u3002example",
    "host too long": "https://" + ".".join(["a" * 60] * 5),
    "percent in the host": "https://shop%2eexample",
    "empty label": "https://shop..example",
    "dot at the end of the host": "https://shop.example.",
    "hyphen at the start": "https://-shop.example",
    "number as a host": "https://2130706433",
    "short address": "https://127.1",
    "hexadecimal address": "https://0x7f.0.0.0x1",
    "octal address": "https://0177.0.0.1",
    "half an IPv6 address": "https://[::1",
    "IPv6 address with a zone": "https://[fe80::1%25eth0]",
    "too long": "https://shop.example/" + "a" * 2000,
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_programs_could_read_in_two_ways_is_refused(text: str) -> None:
    """The error quotes no part of it."""
    with pytest.raises(InvalidUrl) as caught:
        parse_web_url(text)
    assert "evil" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "origin", "path"),
    [
        ("https://shop.example", "https://shop.example", ""),
        ("HTTPS://Shop.Example:443/", "https://shop.example", ""),
        ("https://shop.example:8443/base/", "https://shop.example:8443", "/base"),
        ("http://localhost:3000", "http://localhost:3000", ""),
        ("http://127.0.0.1:80/x", "http://127.0.0.1", "/x"),
        ("http://[::1]:3000", "http://[::1]:3000", ""),
        ("http://[0:0:0:0:0:0:0:1]", "http://[::1]", ""),
        ("https://xn--shp-sna.example/caf%C3%A9/~me", "https://xn--shp-sna.example", "/caf%C3%A9/~me"),
        ("https://a_b.shop.example", "https://a_b.shop.example", ""),
    ],
)
def test_every_plain_url_is_read(text: str, origin: str, path: str) -> None:
    """In lower case, without a default port."""
    url = parse_web_url(text)
    assert (url.origin, url.path) == (origin, path)


@given(ANY)
def test_what_is_accepted_means_the_same_to_python(text: str) -> None:
    """Scheme, host, port and path; there is nothing else in it."""
    try:
        url = parse_web_url(text)
    except InvalidUrl:
        return
    parts = urlsplit(text)
    assert (parts.scheme, parts.path.rstrip("/")) == (url.scheme, url.path)
    assert url.host == (str(ipaddress.ip_address(parts.hostname)) if "[" in text else parts.hostname)
    assert url.port == (None if parts.port == DEFAULT_PORTS[url.scheme] else parts.port)
    assert not any((parts.query, parts.fragment, parts.username, parts.password))
