"""Every command on a log of 100,000 mixed emails, as an operator sees it, to be looked at.

    python -m tests.benchmarks.hundred_thousand FOLDER [--postgresql] [--only WORDS]

Commands that read, and those that act with --dry-run, run on terminals of 80 and 140 columns and in a pipe
with --json. What they print goes into FOLDER; a table tells the seconds of wall and processor time that each
took, without the start of Python.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import socket
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len

from mailctl.delivery_log.heartbeats import Worker
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.benchmarks.forked_commands import in_pipe, on_terminal
from tests.benchmarks.mixed_log import EMAILS, STATES, fill
from tests.servers import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.domain.states import State


WIDTHS = (80, 140)
COMMANDS = (
    "list",
    "list --limit 200 --sort to",
    "list --state failed --error 550 --since 24h",
    "list --to user-777 --oldest-first",
    "list --queue billing --state pending --state queued --sort updated",
    "list --campaign spring-2026 --state failed --limit 10",
    "list --kind reset --user-id 77",
    "list --error nothing-like-it",
    *(f"status {{{state}}}" for state in STATES),
    *(f"why {{{state}}}" for state in STATES),
    "show {failed}",
    "show {sent}",
    "stats",
    *(
        f"stats --since 3d --by {what}"
        for what in ("kind", "state", "error", "hour", "domain", "queue", "campaign")
    ),
    "top --count 1",
    "queue list",
    "queue peek -n 10",
    "queue peek billing -n 5",
    "workers",
    "monitor",
    "metrics",
    "health",
    "suppress list --limit 20",
    "suppress list --source bounce --limit 5",
    "preview reset",
    "keys list",
    "users list",
    "db current",
    "db rekey --dry-run",
    "prune --older-than 2d --dry-run",
    "check-config --offline",
    "retry --state failed --dry-run",
    "retry --state failed --error 550 --include permanent --dry-run",
    "retry {failed} {sent} {held} nobody --dry-run",
    "cancel --queue billing --dry-run",
    "hold --kind welcome --since 2h --dry-run",
    "release --dry-run",
    "release --state cancelled --to example.org --dry-run",
    "resend --state expired --dry-run",
    "resend --campaign spring-2026 --state failed --dry-run",
    "queue purge billing --dry-run",
    "queue purge --all --dry-run",
    "queue purge --kind new-ip --older-than 1d --dry-run",
    "send welcome --user-id 1 --dry-run",
)


def main() -> int:
    """Fill a log, run the commands, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.hundred_thousand")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--only", default="", help="Commands that contain this.")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    home = chosen.folder.absolute()
    with _database(chosen.postgresql) as url:
        (home / ".env").write_text(f"MAILCTL_DATABASE_URL={url}\n" if url else "")
        runtime = Runtime(Settings(mailctl_home=home / ".mailctl", mailctl_database_url=url))
        started = time.monotonic()
        if not runtime.history.find("00000000"):
            fill(runtime)
        print(f"{EMAILS:,} emails after {time.monotonic() - started:.1f} s", flush=True)
        run_all(runtime, home, only=chosen.only)
        runtime.close()
    return 0


@contextmanager
def _database(is_postgresql: bool) -> Iterator[str | None]:
    if not is_postgresql:
        yield None
        return
    with PostgresServer() as server:
        yield server.make_database()


def _beat(runtime: Runtime) -> None:
    """Be a worker, as far as the log can tell; leave no connection open for those that are forked."""
    now = datetime.now(UTC)
    worker = Worker(
        id=f"worker-{os.getpid()}",
        name="celery@web-1",
        host=socket.gethostname(),
        pid=os.getpid(),
        pool="threads",
        concurrency=4,
        queues=("celery", "mailctl.bulk"),
        started_at=now - timedelta(hours=5),
        seen_at=now,
    )
    runtime.workers.record_heartbeat(worker)
    runtime.engine.dispose()


def run_all(runtime: Runtime, home: Path, *, only: str) -> None:
    """Run each command in each way, keep what it prints, and tell what it took."""
    some = {state: _one_in(runtime, state) for state in STATES}
    print(f"{'command':<60} {'code':>4} {'wall, s':>8} {'cpu, s':>7} {'widest':>10}")
    for number, line in enumerate(COMMANDS):
        if only not in line:
            continue
        words = shlex.split(line.format(**{str(state): email_id for state, email_id in some.items()}))
        seen = {}
        for width in WIDTHS:
            _beat(runtime)
            seen[str(width)] = on_terminal(words, home, width=width)
        seen["json"] = in_pipe([*words, "--json"], home)
        for name, what in seen.items():
            (home / f"{number:02}-{name}.txt").write_text(f"$ mailctl {line}\n{what.out}\n")
        problem = "" if line == "metrics" else _json_problem(seen["json"].out)
        widest = "/".join(str(_widest(seen[str(width)].out)) for width in WIDTHS)
        slowest = max(seen.values(), key=lambda what: what.processor)
        figures = f"{slowest.code:>4} {slowest.wall:>8.2f} {slowest.processor:>7.2f} {widest:>10} {problem}"
        print(f"{line:<60} {figures}", flush=True)


def _widest(text: str) -> int:
    return max((cell_len(line) for line in text.splitlines()), default=0)


def _one_in(runtime: Runtime, state: State) -> str:
    from mailctl.delivery_log.queries.search import EmailFilter, search

    return search(runtime.engine, EmailFilter(states=[state]), limit=1).emails[0].id


def _json_problem(out: str) -> str:
    try:
        is_ours = all(json.loads(line)["schema"] == "mailctl/1" for line in out.splitlines())
    except (ValueError, KeyError, TypeError):
        return "NOT JSON"
    return "" if is_ours else "ANOTHER SCHEMA"


if __name__ == "__main__":
    sys.exit(main())
