"""What the direct use of the database driver saves of a whole call, and of recording a campaign."""

from __future__ import annotations

import asyncio
import gc
import itertools
import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select

from mailctl import EmailService, runtime
from mailctl.delivery_log.new_rows import first_events
from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.raw_insert import PreparedInsert, has_value, insert_rows, is_empty
from mailctl.delivery_log.storage.tables import emails, events, pauses, suppressions
from mailctl.domain.catalog import WELCOME
from mailctl.domain.factory import make_drafts
from mailctl.domain.models import Content, User
from mailctl.domain.recipient_list import RecipientRow
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.campaign import MAX_CHUNK_ROWS, CampaignRecorder
from mailctl.settings import Settings
from tests.benchmarks.bench import Figure, at_least
from tests.servers import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from mailctl.runtime import Runtime

#: Calls in one turn.
CALLS = 50
#: Turns in one round: each takes a fraction of a second.
TURNS = 8
#: How many times as much a whole call would have to cost at least, for the driver to be used directly.
_BAR = 1.1

_INSERT_EMAILS, _INSERT_EVENTS = insert(emails), insert(events)
_SELECT_SUPPRESSED = select(suppressions.c.address).where(suppressions.c.address == bindparam("address"))
_SELECT_PAUSE = select(pauses.c.name).limit(1)
_numbers = itertools.count()


@dataclass(frozen=True)
class _User:
    id: int
    email: str
    username: str = "ada"


@dataclass(frozen=True, kw_only=True)
class _Turn:
    """Seconds of CPU of one email, by turns."""

    whole: float
    direct: float
    by_sqlalchemy: float

    @property
    def whole_by_sqlalchemy(self) -> float:
        return self.whole - self.direct + self.by_sqlalchemy


def of_a_call(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """The statements that record emails, by the driver and by SQLAlchemy, and all that goes with them."""
    yield from _figures("SQLite", folder / "sqlite", None, rounds)
    with PostgresServer() as server:
        yield from _figures("PostgreSQL", folder / "postgresql", server.make_database(), rounds)


def _figures(name: str, folder: Path, log_url: str | None, rounds: int) -> Iterator[Figure]:
    with _service(folder, log_url) as parts:
        calls = [_call_turn(parts) for _ in range(rounds * TURNS + 1)]
        batches = [_campaign_turn(parts) for _ in range(rounds * TURNS + 1)]
    yield _figure(f"call, {name}, CPU us (ours: by SQLAlchemy)", calls[1:])
    yield _figure(f"campaign row, {name}, CPU us (same)", batches[1:])


def _figure(name: str, turns: Sequence[_Turn]) -> Figure:
    low, _, high = statistics.quantiles([turn.whole_by_sqlalchemy / turn.whole for turn in turns], n=4)
    ours = statistics.median(turn.whole_by_sqlalchemy for turn in turns)
    other = statistics.median(turn.whole for turn in turns)
    figure = at_least(name, ours * 1e6, other * 1e6, _BAR)
    return replace(figure, bar=f"{figure.bar} (half of the turns: {low:.2f} to {high:.2f})")


@contextmanager
def _service(folder: Path, log_url: str | None) -> Iterator[Runtime]:
    folder.mkdir()
    lines = [
        "DEBUG=True",
        f"MAILCTL_HOME={folder / 'home'}",
        "SECRET_KEY=a-benchmark-secret-key-of-some-length",
        "FRONTEND_URL=https://shop.example",
        *([f"MAILCTL_DATABASE_URL={log_url}"] if log_url else []),
    ]
    (folder / ".env").write_text("\n".join(lines))
    runtime.configure(Settings.load(folder / ".env"))
    try:
        yield runtime.current()
    finally:
        runtime.close()


def _cpu(action: Callable[[], object], count: int) -> float:
    """Return the seconds of CPU that one of `count` emails takes."""
    gc.collect()
    started = time.process_time()
    action()
    return (time.process_time() - started) / count


def _call_turn(parts: Runtime) -> _Turn:
    async def call() -> None:
        for _ in range(CALLS):
            number = next(_numbers)
            await EmailService.send_welcome_email(_User(id=number, email=f"user{number}@example.com"))

    return _Turn(
        whole=_cpu(lambda: asyncio.run(call()), CALLS),
        direct=_record_each(parts, _record_directly),
        by_sqlalchemy=_record_each(parts, _record_by_sqlalchemy),
    )


def _record_each(
    parts: Runtime, record: Callable[[Connection, dict[str, Any], dict[str, Any]], bool]
) -> float:
    """Return what the statements of a call cost, of whose transaction only one is measured."""
    batch = _drafts(CALLS)
    now = datetime.now(UTC)
    rows = [parts.outbox.new_row(draft, due_at=now, now=now) for draft in batch]
    firsts = first_events(batch, now=now)
    with writing(parts.engine, durable=False) as connection:
        return _cpu(
            lambda: [record(connection, *both) for both in zip(rows, firsts, strict=True)],
            CALLS,
        )


def _record_directly(connection: Connection, row: dict[str, Any], event: dict[str, Any]) -> bool:
    insert_rows(connection, emails, [row])
    insert_rows(connection, events, [event])
    is_suppressed = has_value(connection, suppressions.c.address, row["to_address"])
    return is_empty(connection, pauses.c.name) and not is_suppressed


def _record_by_sqlalchemy(connection: Connection, row: dict[str, Any], event: dict[str, Any]) -> bool:
    connection.execute(_INSERT_EMAILS, row)
    connection.execute(_INSERT_EVENTS, event)
    address = {"address": row["to_address"]}
    is_suppressed = connection.execute(_SELECT_SUPPRESSED, address).first() is not None
    return connection.execute(_SELECT_PAUSE).first() is None and not is_suppressed


def _campaign_turn(parts: Runtime) -> _Turn:
    recorder = CampaignRecorder(parts, EmailRequest(campaign=f"bench-{next(_numbers)}", kind=WELCOME))
    given = [RecipientRow(line=n, email=f"user{n}@example.com", name="Ada") for n in range(MAX_CHUNK_ROWS)]
    return _Turn(
        whole=_cpu(lambda: [*recorder.record(given)], MAX_CHUNK_ROWS),
        direct=_record_batch(parts, _insert_directly),
        by_sqlalchemy=_record_batch(parts, _insert_by_sqlalchemy),
    )


def _record_batch(
    parts: Runtime, record: Callable[[Connection, list[dict[str, Any]], list[dict[str, Any]]], None]
) -> float:
    batch = _drafts(MAX_CHUNK_ROWS)
    now = datetime.now(UTC)
    rows = [parts.outbox.new_row(draft, due_at=now, now=now) for draft in batch]
    firsts = first_events(batch, now=now)
    with writing(parts.engine, durable=False) as connection:
        return _cpu(lambda: record(connection, rows, firsts), MAX_CHUNK_ROWS)


def _insert_directly(
    connection: Connection, rows: list[dict[str, Any]], firsts: list[dict[str, Any]]
) -> None:
    for ready in (
        PreparedInsert(emails, rows, connection.dialect),
        PreparedInsert(events, firsts, connection.dialect),
    ):
        ready.insert(connection)


def _insert_by_sqlalchemy(
    connection: Connection, rows: list[dict[str, Any]], firsts: list[dict[str, Any]]
) -> None:
    connection.execute(_INSERT_EMAILS, rows)
    connection.execute(_INSERT_EVENTS, firsts)


def _drafts(count: int) -> list[Any]:
    request, now = EmailRequest(kind=WELCOME), datetime.now(UTC)
    contents = [Content(user=User(email=f"user{next(_numbers)}@example.com")) for _ in range(count)]
    return make_drafts(request, contents, queue="celery", now=now)
