"""Composing an email, and reading it as a mail program does."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.domain.models import Content, User
from mailctl.domain.samples import sample_content
from mailctl.rendering.composer import Composer
from mailctl.security.links import Links
from mailctl.settings import Settings

if TYPE_CHECKING:
    from email.message import EmailMessage

    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Envelope


CREATED = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)
NOW = CREATED + timedelta(minutes=5)
HOSTILE = Path(__file__).parents[2] / "data" / "hostile.jsonl"


def composer(**settings: Any) -> Composer:
    made = Settings(**{"project_name": "Acme", "frontend_url": "https://app.example.com", **settings})
    return Composer(made, Links(made))


COMPOSER = composer()


def compose(
    kind: Kind,
    content: Content | None = None,
    *,
    by: Composer = COMPOSER,
    email_id: str = "id-1",
    now: datetime = NOW,
) -> Envelope:
    content = content or sample_content(kind)
    return asyncio.run(by.compose(id=email_id, kind=kind.name, content=content, created_at=CREATED, now=now))


@dataclass(frozen=True)
class Read:
    """A message as a mail program reads it."""

    message: EmailMessage
    text: str
    html: str


def read(envelope: Envelope) -> Read:
    message = email.message_from_bytes(envelope.data, policy=email.policy.default)
    text, html = message.iter_parts()
    assert [text.get_content_type(), html.get_content_type()] == ["text/plain", "text/html"]
    assert not any(part.defects for part in message.walk())
    bodies = [part.get_content().replace("\r\n", "\n") for part in (text, html)]
    return Read(message, *bodies)


class Hrefs(HTMLParser):
    """Collects where the links of a page lead, and its visible words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def hostile(field: str, *, expect: str = "") -> list[Any]:
    """Return values of a field and what is expected of each: all of them, or those where that is the same."""
    lines = (json.loads(line) for line in HOSTILE.read_text(encoding="utf-8").splitlines())
    found = [
        pytest.param(line["value"], line["expect"], id=line["why"][:40])
        for line in lines
        if line["field"] == field and expect in ("", line["expect"])
    ]
    assert found, f"no value of {field}"
    return found


def user(**changes: str) -> User:
    return replace(User(email="ada@example.com", id="42", first_name="Ada"), **changes)


def generic(template: str = "message", **context: Any) -> Content:
    return Content(user=user(), subject="News", template=template, context={"body": "Hello.", **context})
