"""Values full of what terminals obey, and a delivery log in which everything from outside is such a value."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

from mailctl.delivery_log.storage.engine import open_engine, writing
from mailctl.delivery_log.storage.schema_version import ensure_current
from mailctl.delivery_log.storage.tables import (
    api_keys,
    circuits,
    emails,
    events,
    pauses,
    suppressions,
    workers,
)
from mailctl.delivery_log.storage.urls import parse_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

C0 = "".join(map(chr, range(1, 32)))
C1 = "".join(map(chr, range(0x7F, 0xA0)))
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
#: Sets the clipboard, clears the screen, goes up, asks for a reply, and each control character by itself.
ESCAPES = f"\x1b]52;c;eHg=\x07\x1b[2J\x1b[1A\x1b[31m\x9b6n\x1b[5n\b\b\r{C0}{C1}{BIDI}\u2028\u2029"
CONTROLS = re.compile(rf"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029{BIDI}]")
ID = "e0000000-0000-4000-8000-000000000001"
WAITING = "e0000000-0000-4000-8000-000000000002"


def hostile(what: str) -> str:
    """Return a value that says where it comes from, with all escapes."""
    return f"{what}{ESCAPES}{what}"


def plant(folder: Path) -> None:
    """Make a log in which everything that came from outside is hostile.

    Args:
        folder: in which commands are run.
    """
    (folder / ".mailctl").mkdir()
    url = f"sqlite:///{folder / '.mailctl' / 'mailctl.db'}"
    engine = open_engine(parse_url(url, setting="test"), setting="test")
    ensure_current(engine)
    now = datetime.now(UTC)
    with writing(engine) as connection:
        for table, row in _rows(now - timedelta(minutes=1)):
            connection.execute(insert(table), row)
    engine.dispose()


def _rows(at: datetime) -> Iterator[tuple[Any, dict[str, Any]]]:
    email: dict[str, Any] = {
        "queue": hostile("queue"),
        "kind": "email",
        "to_address": f"zoe@example.com{ESCAPES}",
        "user_id": hostile("user"),
        "attempts": 1,
        "created_at": at,
        "updated_at": at,
        "due_at": at,
        "error": hostile("error"),
        "reason_code": "unspecified",
        "worker": hostile("worker"),
        "smtp_code": 550,
        "smtp_enhanced": "5.7.1",
        "smtp_text": hostile("reply"),
        "message_id": hostile("message-id"),
        "campaign": hostile("campaign"),
    }
    yield emails, email | {"id": ID, "state": "failed"}
    yield emails, email | {"id": WAITING, "state": "pending", "campaign": None}
    yield emails, email | {"id": hostile("id"), "state": "held", "kind": hostile("kind"), "campaign": None}
    for email_id, state in ((ID, "failed"), (WAITING, "pending")):
        words = {"text": hostile("event"), "worker": hostile("worker"), "actor": hostile("actor")}
        yield events, {"email_id": email_id, "at": at, "state": state, "attempt": 1, "code": 550} | words
    worker = {"id": "w", "name": hostile("node"), "host": hostile("host"), "pid": 1, "pool": hostile("pool")}
    seen = {"started_at": at, "seen_at": at + timedelta(hours=1), "concurrency": 2}
    yield workers, worker | seen | {"queues": [hostile("queue"), "celery"]}
    yield pauses, {"scope": "queue", "name": hostile("queue"), "since": at} | _deed()
    yield pauses, {"scope": "kind", "name": "welcome", "since": at} | _deed()
    yield (
        suppressions,
        {"address": hostile("x@example.com"), "source": "operator", "created_at": at} | _deed(),
    )
    yield api_keys, {"id": "k1", "name": hostile("key"), "digest": "x", "created_at": at}
    circuit = {"server": "localhost:587", "failures": 5, "probes": 1, "reason": hostile("circuit")}
    yield circuits, circuit | {"since": at, "probe_at": at + timedelta(hours=1)}


def _deed() -> dict[str, str]:
    return {"reason": hostile("reason"), "actor": hostile("actor")}
