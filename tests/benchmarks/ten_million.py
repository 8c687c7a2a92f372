"""What a log of ten million emails on PostgreSQL costs, against one of ten thousand.

The database generates the rows: a month of emails of which most were sent, with the last event of each, and a
busy hour with all events. `python -m tests.benchmarks ten-million --rounds 3` needs 20 GB of disk.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import cache, partial
from typing import TYPE_CHECKING

from sqlalchemy import text

from mailctl.delivery_log.queries.stat_models import Dimension
from mailctl.delivery_log.retention import Retention
from mailctl.domain.catalog import WELCOME
from mailctl.domain.factory import make_content, make_drafts, make_user
from mailctl.domain.models import SentClaim
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.monitoring.snapshot import take_snapshot, take_trend
from mailctl.monitoring.stats import make_report
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.benchmarks.bench import Figure, at_most, median
from tests.benchmarks.growth import list_emails, mean_seconds
from tests.servers import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mailctl.domain.models import Draft

SMALL, LARGE = 10_000, 10_000_000
#: Emails of the last hour.
RECENT = 200_000
DAYS = 30
CLAIMED = 50
#: Emails that are recorded, claimed and finished; and that are pruned.
LIVES, PRUNED = 5_000, 20_000
_ACCEPTED = Outcome(
    kind=OutcomeKind.ACCEPTED, reply=SmtpReply(code=250, text="2.0.0 Ok: queued as 4XyZ1234"), stage="body"
)
REPEATS = 10
_CHUNK = 100_000
#: Connections that insert at the same time.
_LOADERS = 4

_FILL = """
WITH recorded AS (
    INSERT INTO mailctl_emails (seq, id, kind, state, queue, to_address, mailbox, user_id, attempts,
        created_at, updated_at, due_at, queued_at, sent_at, expires_at, worker, message_id, smtp_code,
        smtp_enhanced, smtp_text, campaign)
    SELECT i, overlay(CAST(CAST(md5(CAST(i AS text)) AS uuid) AS text) PLACING
            lpad(to_hex(CAST(floor(extract(epoch FROM at) / 86400) AS integer)), 4, '0') FROM 1 FOR 4),
        (ARRAY['welcome', 'reset', 'verification', 'email'])[1 + i % 4],
        CASE WHEN i % 500 = 0 THEN 'failed'
            WHEN i % 400 = 1 THEN 'bounced' ELSE 'sent' END, 'celery',
        'user' || i % 3000000 || '@example.com', 'user' || i % 3000000 || '@example.com', i % 3000000, 1, at,
        at, at, at, CASE WHEN i % 500 > 0 THEN at + (0.05 + i % 977 * 0.01) * interval '1 second' END,
        at + interval '1 day', 'celery@host-1', '<' || md5(CAST(i AS text)) || '@example.com>', 250,
        '2.0.0',
        '2.0.0 Ok: queued as 4XyZ' || i,
        CASE WHEN i % 10 = 0 THEN 'month-' || i * 12 / :last END
    FROM (SELECT i, CAST(:start AS timestamptz) + (i - :zero) * CAST(:step AS float) * interval '1 second'
              AS at FROM generate_series(CAST(:first AS bigint), :last) AS i) AS numbers
    RETURNING seq, id, created_at, state, worker, smtp_text, smtp_code
)
INSERT INTO mailctl_events (seq, email_id, at, state, attempt, worker, text, code)
SELECT :offset + (seq - :zero) * :events + step, id, created_at + step * interval '0.02 second',
    (ARRAY[state, 'sending', 'queued', 'pending'])[1 + :events - step], CASE WHEN step < 3 THEN 0 ELSE 1 END,
    worker, smtp_text, smtp_code
FROM recorded, generate_series(1, :events) AS step
"""


def queries(folder: Path, *, rounds: int, rows: int = LARGE) -> Iterator[Figure]:
    """Questions, claims and the relay's due query; statistics of a month; the overview of a busy hour."""
    with PostgresServer() as server:
        small, large = (filled(server, folder, number) for number in (SMALL, rows))
        yield from compared(small, large, rounds=rounds, what=f"{rows:,} rows (other: {SMALL:,})")
        before = median(partial(_report, large), rounds=1)
        yield _limit("rollup of a month, s an email x 1,000,000", _roll_up(large) / rows * 1e6, 100)
        after = median(partial(_report, large), rounds=rounds)
        yield at_most("stats --since 30d, ms (other: every row)", after, before, 1)
        yield _limit("stats --since 30d, ms", after * 1000, 1000)
        sizes = {f"{name}, bytes a row": size / rows for name, size in _sizes(large).items()}
        for name, figure in (sizes | _depth(large) | _life(large) | _prune(large)).items():
            # They are for the model in the documents, and have no bar.
            yield _limit(name, figure, 10_000)
        hour = timedelta(hours=1)
        _insert(large, RECENT, age=hour, length=hour, events=4)
        yield _limit("overview, first, ms", median(partial(_overview, large), rounds=1) * 1000, 5000)
        yield _limit("overview, ms", median(partial(_overview, large), rounds=rounds) * 1000, 100)
        small.close()
        large.close()


def compared(small: Runtime, large: Runtime, *, rounds: int, what: str, bar: float = 3) -> Iterator[Figure]:
    """What operators, relays and claims ask of a large log, beside the same of a small one."""
    for name, question in _QUESTIONS.items():
        few, many = (
            median(partial(mean_seconds, question, log, repeats=REPEATS), rounds=rounds)
            for log in (small, large)
        )
        yield at_most(f"{name}, ms: {what}", many, few, bar)
    few, many = (median(partial(_claims, log), rounds=rounds) for log in (small, large))
    yield at_most(f"claim of {CLAIMED}, ms: {what}", many, few, bar)


def _limit(name: str, ours: float, bar: float) -> Figure:
    return Figure(
        name=name, ours=f"{ours:.1f}", other="", ratio=ours / bar, bar=f"<= {bar:g}", is_met=ours <= bar
    )


def filled(server: PostgresServer, folder: Path, rows: int) -> Runtime:
    """Return a log with so many emails in the last month, but for its last two hours."""
    home = folder / f"{rows}"
    runtime = Runtime(Settings(debug=True, mailctl_home=home, mailctl_database_url=server.make_database()))
    runtime.history.find("00000000")
    with _faster_loading(runtime):
        length = timedelta(days=DAYS) - timedelta(hours=2)
        _insert(runtime, rows, age=timedelta(days=DAYS), length=length, events=1)
    return runtime


@contextmanager
def _faster_loading(runtime: Runtime) -> Iterator[None]:
    """Create the indexes and keys afterwards, and let no trigger note the emails, which are old."""
    with runtime.engine.begin() as connection:
        connection.execute(text("ALTER TABLE mailctl_emails DISABLE TRIGGER USER"))
        keys = connection.execute(text(_KEYS)).all()
        for table, name, _ in keys:
            connection.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT {name}"))
        indexes = connection.execute(text(_INDEXES)).all()
        for name, _ in indexes:
            connection.execute(text(f"DROP INDEX {name}"))
    yield
    with runtime.engine.begin() as connection:
        connection.execute(text("SET LOCAL maintenance_work_mem = '1GB'"))
        for table, name, definition in keys:
            connection.execute(text(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"))
        for _, definition in indexes:
            connection.execute(text(definition))
        connection.execute(text("ALTER TABLE mailctl_emails ENABLE TRIGGER USER"))
    _vacuum(runtime)


def _vacuum(runtime: Runtime) -> None:
    with runtime.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE mailctl_emails"))
        connection.execute(text("VACUUM ANALYZE mailctl_events"))


_KEYS = """
SELECT CAST(conrelid AS regclass), conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE contype IN ('p', 'u')
    AND CAST(CAST(conrelid AS regclass) AS text) IN ('mailctl_emails', 'mailctl_events')
"""
_INDEXES = """
SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN ('mailctl_emails', 'mailctl_events')
"""


def _insert(runtime: Runtime, rows: int, *, age: timedelta, length: timedelta, events: int) -> None:
    """Insert emails with times that are spread over a length, in a few transactions at a time."""
    with runtime.engine.begin() as connection:
        ends = "SELECT coalesce(max(seq), 0) FROM {}"
        zero, offset = (
            connection.execute(text(ends.format(table))).scalar_one()
            for table in ("mailctl_emails", "mailctl_events")
        )
        now = connection.execute(text("SELECT now()")).scalar_one()
    common = {"zero": zero, "offset": offset, "events": events, "start": now - age}
    common["step"] = length.total_seconds() / rows

    def insert(start: int) -> None:
        last = zero + min(start + _CHUNK, rows)
        with runtime.engine.begin() as connection:
            connection.execute(text(_FILL), {**common, "first": zero + start + 1, "last": last})

    with ThreadPoolExecutor(_LOADERS) as loaders:
        list(loaders.map(insert, range(0, rows, _CHUNK)))
    with runtime.engine.begin() as connection:
        for table in ("mailctl_emails", "mailctl_events"):
            sequence = f"pg_get_serial_sequence('{table}', 'seq')"
            connection.execute(text(f"SELECT setval({sequence}, (SELECT max(seq) FROM {table}))"))


def _roll_up(runtime: Runtime) -> float:
    """Return the seconds that it takes to roll up all that is due."""
    started = time.perf_counter()
    # Others that use the server may hold up a period for a moment.
    while runtime.rollup.advance() or _count_closed(runtime) < (DAYS * 24 - 3) * 2:
        pass
    return time.perf_counter() - started


def _count_closed(runtime: Runtime) -> int:
    with runtime.engine.connect() as connection:
        query = text("SELECT count(*) FROM mailctl_rollup_periods WHERE is_closed")
        return int(connection.execute(query).scalar_one())


def _report(runtime: Runtime) -> float:
    started, now = time.perf_counter(), runtime.clock()
    make_report(runtime, Dimension.KIND, since=now - timedelta(days=DAYS), until=now, limit=24)
    return time.perf_counter() - started


def _overview(runtime: Runtime) -> float:
    started = time.perf_counter()
    snapshot = take_snapshot(runtime)
    take_trend(runtime, now=snapshot.at)
    return time.perf_counter() - started


def _life(runtime: Runtime) -> dict[str, float]:
    """Return what emails cost the database from their recording to their outcome, in groups."""
    runtime.history.find("00000000")
    before, started = _write_position(runtime), time.perf_counter()
    for _ in range(LIVES // CLAIMED):
        drafts = _drafts(runtime)
        runtime.outbox.add(drafts, due_at=runtime.clock() + timedelta(hours=1))
        runtime.publications.mark_queued([draft.id for draft in drafts])
        claims = runtime.claims.claim([draft.id for draft in drafts], worker="celery@host-1").claims
        sent = [
            SentClaim(
                claim=claim, state=State.SENT, outcome=_ACCEPTED, message_id=f"<{claim.id}@example.com>"
            )
            for claim in claims
        ]
        assert runtime.attempt_results.finish_sent(sent) == []
    seconds = time.perf_counter() - started
    return {
        "write-ahead log, bytes an email": (_write_position(runtime) - before) / LIVES,
        "statements of an email, ms": seconds / LIVES * 1000,
    }


def _write_position(runtime: Runtime) -> int:
    with runtime.engine.connect() as connection:
        return int(connection.execute(text("SELECT pg_current_wal_insert_lsn() - '0/0'")).scalar_one())


def _prune(runtime: Runtime) -> dict[str, float]:
    """Return what it takes to delete the oldest emails, and to vacuum the tables after that."""
    with runtime.engine.connect() as connection:
        query = "SELECT created_at FROM mailctl_emails ORDER BY created_at LIMIT 1 OFFSET :number"
        end = connection.execute(text(query), {"number": PRUNED}).scalar_one()
    started = time.perf_counter()
    pruned = sum(Retention(runtime.engine).prune(contents_before=end, emails_before=end))
    seconds, started = time.perf_counter() - started, time.perf_counter()
    _vacuum(runtime)
    return {
        "prune, ms an email": seconds / pruned * 1000,
        "vacuum of both tables, s": time.perf_counter() - started,
    }


def _depth(runtime: Runtime) -> dict[str, float]:
    """Return how many levels the indexes of the ids have."""
    with runtime.engine.begin() as connection:
        connection.execute(text("CREATE EXTENSION IF NOT EXISTS pageinspect"))
        query = text("SELECT level + 1 FROM bt_metap(:name)")
        return {
            f"levels of {name}": connection.execute(query, {"name": name}).scalar_one()
            for name in ("mailctl_emails_id_key", "mailctl_events_email")
        }


def _sizes(runtime: Runtime) -> dict[str, int]:
    """Return the bytes of the large tables, of their indexes, and of the rollup."""
    sizes = {
        "emails": "pg_table_size('mailctl_emails')",
        "indexes of emails": "pg_indexes_size('mailctl_emails')",
        "events": "pg_table_size('mailctl_events')",
        "indexes of events": "pg_indexes_size('mailctl_events')",
        "rollup": "pg_total_relation_size('mailctl_rollup_counts') "
        "+ pg_total_relation_size('mailctl_rollup_latencies')",
    }
    with runtime.engine.connect() as connection:
        return {name: connection.execute(text(f"SELECT {size}")).scalar_one() for name, size in sizes.items()}


def _status(runtime: Runtime) -> None:
    [email, *_] = runtime.history.find(_some_short_id(runtime))
    runtime.history.events(email.id)


@cache
def _some_short_id(runtime: Runtime) -> str:
    with runtime.engine.connect() as connection:
        query = text("SELECT left(id, 13) FROM mailctl_emails WHERE seq = 4242")
        return str(connection.execute(query).scalar_one())


def _relay(runtime: Runtime) -> None:
    runtime.publications.reserve_due(limit=100)
    runtime.campaigns.take_due(limit=100)
    runtime.recovery.release_stale(max_resends=2)
    runtime.recovery.expire()


def _claim(runtime: Runtime) -> float:
    """Return the seconds that it takes to claim a group of emails that have just been recorded."""
    drafts = _drafts(runtime)
    # No relay has to take them.
    runtime.outbox.add(drafts, due_at=runtime.clock() + timedelta(hours=1))
    started = time.perf_counter()
    claimed = runtime.claims.claim([draft.id for draft in drafts], worker="celery@host-1").claims
    seconds = time.perf_counter() - started
    assert len(claimed) == CLAIMED
    return seconds


def _drafts(runtime: Runtime) -> list[Draft]:
    contents = [make_content(WELCOME, make_user(email="zoe@example.com"), origins=frozenset())] * CLAIMED
    return make_drafts(EmailRequest(kind=WELCOME), contents, queue="celery", now=runtime.clock())


def _claims(runtime: Runtime) -> float:
    return sum(_claim(runtime) for _ in range(REPEATS)) / REPEATS


_QUESTIONS: dict[str, Callable[[Runtime], object]] = {
    "status": _status,
    "list": list_emails,
    "relay": _relay,
}
