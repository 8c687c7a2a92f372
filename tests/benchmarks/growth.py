"""What a log of a million emails costs, against one of a thousand."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import text

from mailctl.delivery_log.queries.search import EmailFilter, search
from mailctl.domain.states import State
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.benchmarks.bench import Figure, at_most, in_rounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SMALL, LARGE = 1_000, 1_000_000
REPEATS = 20
#: The id of an email that every log has.
SOME_ID = f"{500 * 2654435761 % 4294967296:08x}-0000-4000-8000-000000000000"
_FILL = """
INSERT INTO mailctl_emails
    (id, kind, state, queue, to_address, user_id, attempts, created_at, updated_at, due_at)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows)
SELECT printf('%08x-0000-4000-8000-000000000000', i * 2654435761 % 4294967296), 'welcome',
       CASE WHEN i % 500 = 0 THEN 'failed' ELSE 'sent' END, 'celery', printf('user%d@example.com', i),
       CAST(i % 50000 AS TEXT), 1, '2026-01-01 00:00:00', '2026-01-01 00:00:00', '2026-01-01 00:00:00' FROM n
"""
#: Half of them on the broker, half of them a campaign's in the log.
_WAIT = """
UPDATE mailctl_emails
   SET expires_at = '2100-01-01 00:00:00', state = CASE seq % 2 WHEN 0 THEN 'queued' ELSE 'pending' END,
       queued_at = CASE seq % 2 WHEN 0 THEN created_at END, campaign = CASE seq % 2 WHEN 1 THEN 'long' END
"""
_FILL_EVENTS = """
INSERT INTO mailctl_events (email_id, at, state, attempt, text)
SELECT id, created_at, state, 1, 'recorded' FROM mailctl_emails
"""


def queries(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """`status`, `list` and a turn of the relay."""
    small, large = (filled(folder / name, rows) for name, rows in (("small", SMALL), ("large", LARGE)))
    for name, question in _QUESTIONS.items():
        few = in_rounds(partial(mean_seconds, question, small), rounds=rounds)
        many = in_rounds(partial(mean_seconds, question, large), rounds=rounds)
        yield at_most(f"{name}, ms: 1,000,000 rows (other: 1,000)", many, few, 3)
    for log in (small, large):
        with log.engine.begin() as connection:
            connection.execute(text(_WAIT))
        log.campaigns.create_or_update("long", kind="welcome", rate=None)
    few, many = (in_rounds(partial(mean_seconds, _mend, log), rounds=rounds) for log in (small, large))
    yield at_most("relay, ms: 1,000,000 waiting (other: 1,000)", many, few, 3)
    small.close()
    large.close()


def filled(home: Path, rows: int) -> Runtime:
    """Return a log in SQLite with so many emails."""
    runtime = Runtime(Settings(debug=True, mailctl_home=home))
    with runtime.engine.begin() as connection:
        connection.execute(text(_FILL), {"rows": rows})
        connection.execute(text(_FILL_EVENTS))
    return runtime


def mean_seconds(question: Callable[[Runtime], object], runtime: Runtime, *, repeats: int = REPEATS) -> float:
    """Return how long a question takes, the mean of a few times."""
    question(runtime)  # the first one also pays for what has just been filled in, such as a checkpoint
    started = time.perf_counter()
    for _ in range(repeats):
        question(runtime)
    return (time.perf_counter() - started) / repeats


def _status(runtime: Runtime) -> None:
    [email, *_] = runtime.history.find(SOME_ID[:8])
    runtime.history.events(email.id)


def list_emails(runtime: Runtime) -> None:
    """Read the pages that `list` prints most often."""
    search(runtime.engine, EmailFilter(), limit=50)
    search(runtime.engine, EmailFilter(states=[State.FAILED]), limit=50)
    search(runtime.engine, EmailFilter(user_id="42"), limit=50)


def _relay(runtime: Runtime) -> None:
    runtime.publications.reserve_due(limit=100)
    runtime.campaigns.take_due(limit=100)
    _mend(runtime)


def _mend(runtime: Runtime) -> None:
    """Do all of a turn that takes no email away from those that wait."""
    runtime.campaigns.has_due()
    runtime.recovery.release_stale(max_resends=2)
    runtime.recovery.expire()
    runtime.recovery.return_orphans(alive=[])


_QUESTIONS: dict[str, Callable[[Runtime], object]] = {"status": _status, "list": list_emails, "relay": _relay}
