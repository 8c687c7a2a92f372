"""Parsers of what strangers write: any input is taken or refused in one sentence, in little memory."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st

from mailctl.delivery_log.api_keys import parse_key_id
from mailctl.domain import unicode_safety
from mailctl.domain.link_validation import validate_action_url
from mailctl.domain.recipient_list import read_recipients
from mailctl.domain.validation import safe_greeting_name
from mailctl.errors import InvalidInput
from mailctl.rendering.html_text import html_to_text
from mailctl.security.content_masking import SecretMasker
from mailctl.security.links import InvalidLink, LinkClaims, Links
from mailctl.settings import Settings
from mailctl.settings.connection_urls.parts import InvalidUrl
from mailctl.settings.connection_urls.web import parse_web_url
from mailctl.web.hosts import hosts_from_setting
from mailctl.worker.message_validation import (
    MAX_BODY,
    IncomingMessage,
    Rejected,
    task_name,
    validate_message,
)
from tests.fuzz.cases import PROPERTY, try_cases
from tests.fuzz.damaged_envelopes import damaged_envelopes

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy

    from tests.fuzz.envelopes import Envelope

pytestmark = pytest.mark.timeout(7200)
#: What one case may take, in bytes.
MEMORY = 2 * 1024 * 1024
ORIGIN = "https://shop.example"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LINKS = Links(Settings(secret_key="a secret of the service", frontend_url=ORIGIN))  # type: ignore[arg-type]
SEALED = LINKS.seal(
    LinkClaims(
        purpose="reset-password",
        user_id="7",
        email="zoe@example.com",
        action=None,
        expires_at=NOW + timedelta(hours=1),
        token="t" * 20,
    )
)
TEXTS = st.text(max_size=60) | st.builds(
    lambda text, times: text * times, st.text(max_size=4), st.integers(1, 3000)
)
DAMAGED_LINKS = st.builds(
    lambda place, more, cut: SEALED[:place] + more + SEALED[place + cut :],
    st.integers(0, len(SEALED)),
    st.text(max_size=3),
    st.integers(0, 3),
)
MASKER = SecretMasker()
URL_PIECES = st.sampled_from(
    [
        *"/\\@:?#%.[]\t\n\0'\"<>{} ",
        "//",
        "..",
        "%2e",
        "https:",
        "shop.example",
        "evil.example",
        "@evil",
        ":443",
        "127.1",
    ]
)
URLS = st.lists(URL_PIECES | st.text(max_size=3), max_size=8).map("".join)
HTML_PIECES = st.sampled_from(
    [
        "<!--",
        "-->",
        "<![",
        "<a ",
        "href='",
        "'",
        '"',
        ">",
        "</",
        "<td>",
        "<style>",
        "</style ",
        "<div hidden>",
        "</div>",
        "&#x",
        "&amp",
        "x ",
        "<",
    ]
)
HTML = st.builds(
    lambda pieces, times: "".join(pieces) * times,
    st.lists(HTML_PIECES | st.text(max_size=3), max_size=8),
    st.integers(1, 500),
)


def verify_link(t: str) -> None:
    """A damaged link opens nothing; the one that was sealed opens."""
    try:
        LINKS.verify(t, purpose="reset-password", now=NOW)
    except InvalidLink:
        return
    assert t == SEALED


def validate_url(text: str) -> None:
    """An accepted link leads to the origin, without anything that another parser reads otherwise."""
    try:
        validate_action_url(ORIGIN + text, origins=frozenset({ORIGIN}))
    except InvalidInput:
        return
    assert not set("\\\t\n\0'\" ") - {"'"} & set(text)
    assert not text or text[0] in "/?#:"


def parse_origin(text: str) -> None:
    """An accepted URL has the host that it seems to have."""
    try:
        url = parse_web_url("https://" + text)
    except InvalidUrl:
        return
    assert text.lower().startswith(url.host) or "[" in text


def check_host(text: str) -> None:
    """No name but the one that is allowed."""
    if hosts_from_setting("shop.example", own=()).allows(text):
        assert "evil" not in text


def read_html(html: str) -> None:
    """Never an error, never more text than there was."""
    assert len(html_to_text(html)) <= 4 * len(html) + 16


def show_html(html: str) -> None:
    """What is shown is masked, and has its tags."""
    shown = MASKER.mask_html(html)
    assert shown.count("<") == html.count("<")


def greet(name: str) -> None:
    """What greets is one line without a link."""
    greeting = safe_greeting_name(name)
    assert "\n" not in greeting
    assert not unicode_safety.has_controls(greeting)
    assert not unicode_safety.is_link_like(greeting)


def parse_key(text: str) -> None:
    """Only the form of a key has an id."""
    assert len(parse_key_id(text)) in (0, 8)


def validate_envelope(envelope: Envelope) -> None:
    """A message is accepted with small headers, refused in one line, or names no task."""
    incoming = IncomingMessage(
        headers=envelope.headers,
        properties=envelope.properties,
        body=envelope.body,
        content_type=envelope.content_type,
        content_encoding=envelope.content_encoding,
    )
    name = task_name(incoming, limit=MAX_BODY)
    if name is None:
        return
    decision = validate_message(incoming, name, now=NOW)
    if isinstance(decision, Rejected):
        assert not unicode_safety.has_controls(decision.reason)
    else:
        json.dumps(dict(decision.headers))


CELLS = st.text(max_size=20) | st.sampled_from(
    ['"', '""', ",", "\0", "\n", "zoe@example.com", "=cmd|' /C calc'!A0"]
)


@st.composite
def lists_of_users(draw: st.DrawFn) -> bytes:
    """A list as CSV, as JSON lines, or as neither."""
    rows = draw(st.lists(st.lists(CELLS, min_size=1, max_size=3), max_size=4))
    if draw(st.booleans()):
        return "\n".join(json.dumps({"email": row[0], "name": row[-1]}) for row in rows).encode(
            "utf-8", "replace"
        )
    text = io.StringIO()
    writer = csv.writer(text, escapechar="\\")
    writer.writerow(["email", "first_name"])
    for row in rows:
        writer.writerow(row)
    return text.getvalue().encode("utf-8", "replace") + draw(st.binary(max_size=10))


def read_list(data: bytes) -> None:
    """Each row is a recipient or a problem, or the list is refused."""
    try:
        rows = list(read_recipients(data))
    except InvalidInput:
        return
    assert len(rows) <= len(data) + 1


PARSERS: dict[str, tuple[SearchStrategy[Any], Callable[[Any], None]]] = {
    "links": (DAMAGED_LINKS | TEXTS, verify_link),
    "URLs of links": (URLS, validate_url),
    "origins": (URLS, parse_origin),
    "Host headers": (URLS, check_host),
    "HTML": (HTML, read_html),
    "HTML that is shown": (HTML, show_html),
    "envelopes": (damaged_envelopes(), validate_envelope),
    "names": (TEXTS, greet),
    "API keys": (TEXTS, parse_key),
    "lists of users": (lists_of_users(), read_list),
}


@pytest.mark.parametrize("name", PARSERS)
def test_any_input_is_taken_or_refused(name: str, is_long: bool, record_property: Any) -> None:
    """With no other error, and in bounded memory."""
    inputs, parse = PARSERS[name]
    cases = try_cases(name, inputs, parse, is_long=is_long)
    record_property(PROPERTY, cases.row)
    assert cases.octets < MEMORY
