"""Every command on a log of 100,000 mixed emails, as an operator sees it, to be looked at.

    python -m tests.benchmarks.hundred_thousand FOLDER [--postgresql] [--only WORDS]

Commands that read, and those that act with --dry-run, run on terminals of 80 and 140 columns and in a pipe
with --json. What they print goes into FOLDER; a table tells the seconds of wall and processor time that each
took, without the start of Python.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import random
import re
import shlex
import socket
import struct
import sys
import termios
import time
import traceback
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.cells import cell_len
from sqlalchemy import insert

from mailctl import runtime as process
from mailctl.cli.main import main as mailctl
from mailctl.delivery_log.heartbeats import Worker
from mailctl.delivery_log.storage import tables
from mailctl.delivery_log.storage.encryption import seal
from mailctl.domain.models import FINAL_STATES, SENT_OR_CAPTURED, Content, State, User
from mailctl.domain.reason_codes import ReasonCode
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.servers import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator

EMAILS, CHUNK, SEED = 100_000, 5_000, 5
WIDTHS = (80, 140)
#: Hours over which the emails are spread.
HOURS = 72
KINDS = ("welcome", "reset", "verification", "new-ip", "email")
QUEUES = ("celery", "celery", "celery", "billing", "mailctl.bulk")
CAMPAIGNS = ("spring-2026", "a-campaign-with-a-rather-long-name-that-somebody-chose")
DOMAINS = ("example.com", "example.org", "mail.example.net", "a-very-long-company-name.example.com")
STATES = {
    State.SENT: 780,
    State.CAPTURED: 20,
    State.FAILED: 60,
    State.EXPIRED: 20,
    State.CANCELLED: 20,
    State.SUPPRESSED: 20,
    State.HELD: 10,
    State.DEFERRED: 20,
    State.PENDING: 29,
    State.QUEUED: 20,
    State.SENDING: 1,
}
REFUSALS = (
    (
        550,
        "5.1.1",
        "The email account that you tried to reach does not exist. Please try double-checking it.",
    ),
    (550, "5.7.1", "Our system has detected that this message is likely unsolicited mail"),
    (552, "5.2.2", "Mailbox full"),
    (554, None, "Transaction failed: blocked using zen.blocklist.example; see https://example.com/lookup"),
)
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
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@dataclass(frozen=True)
class Seen:
    """What a command did."""

    code: int
    out: str
    wall: float
    processor: float


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
    server = PostgresServer()
    try:
        with server:
            yield server.make_database()
    finally:
        server.remove()


def fill(runtime: Runtime) -> None:
    """Record the emails, their events, and what else a log has."""
    chance, now = random.Random(SEED), datetime.now(UTC)
    content = seal(Content(user=User(email="zoe@example.com", first_name="Zoe")), runtime.keyring)
    states = chance.choices(list(STATES), weights=list(STATES.values()), k=EMAILS)
    emails = [_email(number, state, content, chance, now) for number, state in enumerate(states)]
    emails.sort(key=lambda row: row["created_at"])
    for start in range(0, EMAILS, CHUNK):
        rows = emails[start : start + CHUNK]
        with runtime.engine.begin() as connection:
            connection.execute(insert(tables.emails), rows)
            connection.execute(insert(tables.events), [event for row in rows for event in _events(row)])
    with runtime.engine.begin() as connection:
        connection.execute(
            insert(tables.suppressions), [_suppression(number, now) for number in range(2_000)]
        )
        pauses = (("queue", "billing", "the provider moves"), ("kind", "new-ip", ""))
        for scope, name, reason in pauses:
            row = {"scope": scope, "name": name, "reason": reason, "actor": "ada@desk", "since": now}
            connection.execute(insert(tables.pauses), row)
        for name in CAMPAIGNS:
            campaign = {"id": name, "kind": "email", "rate": 50.0, "released_until": now, "created_at": now}
            connection.execute(insert(tables.campaigns), campaign)
    runtime.api_keys.create("on-call")


def _email(number: int, state: State, content: bytes, chance: random.Random, now: datetime) -> dict[str, Any]:
    # Emails that have not ended are young; the others are spread over all hours, fewer at night.
    age = timedelta(hours=HOURS * chance.random() if state in FINAL_STATES else chance.random() * 0.2)
    created = now - age
    queue = chance.choice(QUEUES)
    took = timedelta(seconds=min(chance.lognormvariate(0.5, 1.2), age.total_seconds()))
    has_ended, code = state in FINAL_STATES, None
    row: dict[str, Any] = {
        "id": f"{number * 2654435761 % 4294967296:08x}{str(uuid.UUID(int=chance.getrandbits(128)))[8:]}",
        "kind": "email" if queue == "mailctl.bulk" else chance.choice(KINDS),
        "state": state,
        "queue": queue,
        "to_address": f"user-{chance.randrange(50_000)}@{chance.choice(DOMAINS)}",
        "user_id": str(chance.randrange(50_000)),
        "content": None if state in (State.SENT, State.CAPTURED) else content,
        "attempts": 0 if state in (State.PENDING, State.QUEUED, State.HELD) else 1,
        "created_at": created,
        "updated_at": created + took,
        "due_at": created,
        "not_before": now + timedelta(minutes=chance.randrange(1, 15)) if state is State.DEFERRED else None,
        "queued_at": created if state is State.QUEUED else None,
        "sent_at": created + took if state in (State.SENT, State.CAPTURED) else None,
        "expires_at": created + timedelta(hours=24),
        "lease_until": now + timedelta(seconds=60) if state is State.SENDING else None,
        "worker": "celery@web-1" if has_ended or state is State.SENDING else None,
        "message_id": f"<{number}@example.com>" if has_ended else None,
        "campaign": chance.choice(CAMPAIGNS) if queue == "mailctl.bulk" else None,
        "smtp_code": code,
        "smtp_enhanced": None,
        "smtp_text": None,
        "error": None,
        "reason_code": None,
        "captured_file": ".mailctl/mail/20261124T043246Z-24f90160.eml" if state is State.CAPTURED else None,
    }
    if state is State.FAILED:
        reply = chance.choice(REFUSALS)
    elif state is State.DEFERRED:
        reply = (451, "4.7.1", "Greylisted, please come back in five minutes")
    elif state is State.SENT:
        reply = (250, "2.0.0", "OK")
    else:
        reply = None
    if reply is not None:
        row["smtp_code"], row["smtp_enhanced"], row["smtp_text"] = reply
        words = " ".join(str(part) for part in reply if part)
        if state not in SENT_OR_CAPTURED:
            code = ReasonCode.REFUSED if state is State.FAILED else ReasonCode.DEFERRED
            row |= {"error": f"at rcpt: {words}", "reason_code": code}
    if state is State.SUPPRESSED:
        row["error"] = "the address is suppressed: 550 5.1.1 no such user"
        row["reason_code"] = ReasonCode.SUPPRESSED_ADDRESS
    return row


def _events(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    event = {"email_id": row["id"], "at": row["created_at"], "attempt": 0, "worker": None, "code": None}
    yield {**event, "state": State.PENDING, "text": "recorded", "actor": None}
    if row["state"] is State.PENDING:
        return
    actor = "ada@desk" if row["state"] in (State.HELD, State.CANCELLED) else None
    text = row["error"] or ("the MX moves" if actor else "")
    yield {
        **event,
        "at": row["updated_at"],
        "state": row["state"],
        "text": text,
        "actor": actor,
        "attempt": row["attempts"],
        "worker": row["worker"],
        "code": row["smtp_code"],
    }


def _suppression(number: int, now: datetime) -> dict[str, Any]:
    is_bounce = number % 3 > 0
    return {
        "address": f"dead-{number}@example.com",
        "reason": "The email account that you tried to reach does not exist."
        if is_bounce
        else "asked for it",
        "source": "bounce" if is_bounce else "operator",
        "code": 550 if is_bounce else None,
        "enhanced": "5.1.1" if is_bounce else None,
        "actor": None if is_bounce else "ada@desk",
        "created_at": now - timedelta(minutes=number),
    }


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


def on_terminal(words: list[str], folder: Path, *, width: int) -> Seen:
    """Run a command on a terminal of that width; what it draws, without colours."""
    size = struct.pack("HHHH", 40, width, 0, 0)
    started = time.monotonic()
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, size)
        _become(words, folder)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
    printed = _read_all(terminal)
    _, status, used = os.wait4(pid, 0)
    text = _ESCAPES.sub("", printed.decode(errors="replace")).replace("\r\n", "\n")
    wall = time.monotonic() - started
    return Seen(os.waitstatus_to_exitcode(status), text, wall, used.ru_utime + used.ru_stime)


def in_pipe(words: list[str], folder: Path) -> Seen:
    """Run a command whose results a program reads."""
    started = time.monotonic()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writer, 1)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 2)
        os.dup2(nothing, 0)
        _become(words, folder)
    os.close(writer)
    printed = _read_all(reader)
    _, status, used = os.wait4(pid, 0)
    wall, processor = time.monotonic() - started, used.ru_utime + used.ru_stime
    return Seen(os.waitstatus_to_exitcode(status), printed.decode(errors="replace"), wall, processor)


def _become(words: list[str], folder: Path) -> NoReturn:
    """Run the command in this process, which was forked for it and has imported what it needs."""
    os.chdir(folder)
    for name in ("COLUMNS", *(name.upper() for name in Settings.model_fields)):
        os.environ.pop(name, None)
    os.environ["TERM"] = "xterm"
    try:
        code = mailctl(words)
        process.close()
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        code = 99
    os._exit(code)


def _read_all(descriptor: int) -> bytes:
    found = b""
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        while True:
            try:
                part = stream.read(65536)
            except OSError:
                # A terminal whose other side is closed says so this way.
                return found
            if not part:
                return found
            found += part


if __name__ == "__main__":
    sys.exit(main())
