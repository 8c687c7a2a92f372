"""Reports of providers about emails, over HTTP to a process of its own and into the delivery log (SQLite)."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
from sqlalchemy import func, select, update

from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import emails
from mailctl.domain.catalog import WELCOME
from mailctl.domain.models import Content, State, User
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests import webhooks
from tests.benchmarks.bench import Figure, median

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mailctl.feedback.providers.webhook import WebhookRequest

#: Events a second that the mechanism has to take.
_BAR = 500
_EMAILS = 2_000
_CLIENTS = 32
_SECRETS = {name: webhooks.secret_of(name) for name in ("postmark", "sendgrid")}


def webhook_events(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """How many events a second become states, one a request and a hundred a request."""
    with _server(folder) as address:
        for name, provider, batch in (
            ("webhooks: events/s, one a request", "postmark", 1),
            ("webhooks: events/s, 100 a request", "sendgrid", 100),
        ):
            per_second = median(
                lambda: _measure(folder, address, provider, batch=batch),  # noqa: B023 - called at once
                rounds=rounds,
            )
            yield Figure(
                name=name,
                ours=f"{per_second:.0f}",
                other=f"{_BAR}",
                ratio=per_second / _BAR,
                bar=">= 1",
                is_met=per_second >= _BAR,
            )


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    environment = {"MAILCTL_HOME": str(folder), "MAILCTL_WEBHOOK_SECRETS": json.dumps(_SECRETS)}
    command = [sys.executable, "-m", "mailctl", "feedback", "serve", "--port", "0"]
    with subprocess.Popen(
        command, env={**os.environ, **environment}, cwd=folder, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        found = re.search(r"http://\S+", process.stderr.readline())
        assert found is not None
        yield found[0].rstrip("/")
        process.send_signal(signal.SIGTERM)


def _measure(folder: Path, address: str, provider: str, *, batch: int) -> float:
    log = Runtime(Settings(MAILCTL_HOME=folder))
    ids = _sent_emails(log)
    requests = [_request(provider, ids[at : at + batch]) for at in range(0, len(ids), batch)]
    started = time.perf_counter()
    asyncio.run(_post_all(f"{address}/webhooks/{provider}", requests))
    took = time.perf_counter() - started
    with reading(log.engine) as connection:
        is_delivered = emails.c.state == State.DELIVERED
        query = select(func.count()).where(is_delivered, emails.c.id.in_(ids[:500]))
        assert connection.execute(query).scalar_one() == len(ids[:500])
    log.close()
    return len(ids) / took


def _sent_emails(log: Runtime) -> list[str]:
    contents = [Content(user=User(email=f"user{number}@example.com")) for number in range(_EMAILS)]
    ids = Enqueuer(log).record(EmailRequest(kind=WELCOME), contents).ids
    with writing(log.engine) as connection:
        connection.execute(update(emails).where(emails.c.state == State.PENDING).values(state=State.SENT))
    return list(ids)


def _request(provider: str, ids: Sequence[str]) -> WebhookRequest:
    [given] = [case["payload"] for case in webhooks.cases(provider) if case["name"] == "delivered"]
    events = [_event(given[0] if isinstance(given, list) else given, email_id) for email_id in ids]
    payload = events if isinstance(given, list) else events[0]
    return webhooks.make_request(provider, payload, at=datetime.now(UTC))


def _event(given: dict[str, Any], email_id: str) -> dict[str, Any]:
    ids = {"mailctl-id": email_id, "sg_event_id": email_id, "MessageID": email_id}
    return given | ids | {"Metadata": {"mailctl-id": email_id}, "email": None, "Recipient": None}


async def _post_all(url: str, requests: Sequence[WebhookRequest]) -> None:
    waiting = iter(requests)
    async with httpx.AsyncClient(timeout=60) as client:

        async def post() -> None:
            for request in waiting:
                headers = {**request.headers, "x-forwarded-proto": "https"}
                answer = await client.post(url, content=request.body, headers=headers)
                assert answer.status_code == 200, answer.text

        await asyncio.gather(*(post() for _ in range(_CLIENTS)))
