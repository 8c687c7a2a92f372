"""Every command with `--json` prints objects that match their schemas, as `mailctl schema` prints them.

A new command needs a line in `COMMANDS` and a view, or says with `@uses_log(…, prints_json=False)` that it
prints no JSON.
"""

from __future__ import annotations

import json
import shlex
import sqlite3
from contextlib import closing
from datetime import timedelta
from shutil import copyfile
from typing import TYPE_CHECKING, Any

import pytest
import typer
from jsonschema import Draft202012Validator

from mailctl.cli.context import prints_json
from mailctl.cli.main import app
from mailctl.delivery_log.heartbeats import WorkerRegistry
from mailctl.delivery_log.pauses import PauseScope
from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.tables import emails
from mailctl.delivery_log.suppressions import SuppressionSource
from mailctl.delivery_log.transitions import change_state
from mailctl.domain.models import Content, User
from mailctl.domain.recipient_list import RecipientRow
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.campaign import CampaignRecorder
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.errors import ExitCode
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from mailctl.views.schemas import find_schema
from tests.acceptance.every_command import ROWS, Row
from tests.emails import utc_now
from tests.workers import worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.commands import Mailctl

    Run = Callable[..., tuple[int, str]]

#: Command lines, and the schemas of the objects that they print: one for all lines, or one for each line.
#: The log has a pending email {id} and a failed one {failed}, a key {key}, a suppressed address and a paused
#: queue; users.csv is a list of users with `name` and `title`.
COMMANDS = [
    ("send welcome --user-id 1 --user-id 2", "email-summary"),
    ("send reset --user-id 1 --dry-run", "envelope"),
    ("send email --subject Hi --set body=x --users-file users.csv", "campaign-email campaign"),
    ("send email --subject Hi --set body=x --users-file suppressed.csv", "campaign-email campaign"),
    ("status {id}", "status"),
    ("status {id} {failed}", "status"),
    ("status {id} unknown", "status"),
    ("why {id}", "diagnosis"),
    ("why {failed}", "diagnosis"),
    ("why unknown", "diagnosis"),
    ("show {id}", "message"),
    ("show {id} --raw", "raw-message"),
    ("list --limit 5", "email"),
    ("list --state failed --error 5.7.1", "email"),
    ("errors", "error-group"),
    ("events", "event"),
    ("retry {failed}", "action-result"),
    ("retry {id} --dry-run", "action-result"),
    ("retry --state failed --yes", "action-result"),
    ("retry --state failed --dry-run", "action-result"),
    ("cancel {id} --reason wrong", "action-result"),
    ("hold {id} {failed}", "action-result"),
    ("release {id}", "action-result"),
    ("resend {failed}", "action-result"),
    ("suppress add bob@example.com dead@example.com", "suppression-change"),
    ("suppress remove dead@example.com", "suppression-change"),
    ("suppress list", "suppression"),
    ("suppress list --reason unsubscribed", "unsubscribe"),
    ("suppress remove ada@example.com --kind newsletter", "suppression-change"),
    ("feedback ingest mail.log", "feedback"),
    ("feedback tail-log mail.log --once", "feedback"),
    ("feedback watch --once", "feedback-watch"),
    ("suppress import users.csv", "suppression-import"),
    ("suppress import broken.csv", "suppression-import"),
    ("campaign list", "campaign-status"),
    ("campaign show spring", "campaign-details"),
    ("campaign pause spring", "pause"),
    ("campaign resume autumn", "pause"),
    ("campaign cancel spring --yes", "action-result"),
    ("campaign set-rate spring 5/m", "campaign-rate"),
    ("queue list", "queue"),
    ("queue peek", "queue-entry"),
    ("queue pause celery", "pause"),
    ("queue pause --kind reset --reason wrong", "pause"),
    ("queue resume stopped", "pause"),
    ("queue purge --all --yes", "action-result"),
    ("queue restore celery", "restore"),
    ("workers", "worker"),
    ("workers list", "worker"),
    ("workers list --dead", "dead-worker"),
    ("workers diff", "worker-difference"),
    ("workers ping", "worker-ping"),
    ("workers stop celery@elsewhere --yes", "worker-stop"),
    ("stats", "stats"),
    *((f"stats --by {what} --since 2d", "stats") for what in ("hour", "kind", "error", "domain")),
    ("stats --since 2000-01-01T00:00Z --until 2000-01-02T00:00Z", "stats"),
    ("top --count 2 --interval 0.1", "snapshot snapshot"),
    *((f"preview {kind}", "preview") for kind in ("welcome", "new-ip", "email")),
    ("incident", "incident"),
    ("health", "health"),
    ("health --canary --timeout 1", "health"),
    ("monitor", "monitor"),
    ("check-config --offline", "check-report"),
    ("init --from-address a@shop.example --env-file new.env --offline", "new-settings"),
    ("config show EMAIL_HOST EMAIL_PORT", "setting"),
    ("config diff --profile production", "profile-diff"),
    ("users list", "user"),
    ("users add zoe@example.com", "user"),
    ("users import users.csv", "user-import"),
    ("keys create probe", "new-api-key"),
    ("keys list", "api-key"),
    ("keys revoke {key}", "api-key"),
    ("db current", "schema-version"),
    ("db upgrade", "schema-version"),
    ("db rekey", "rekey"),
    ("prune", "prune"),
    ("demo", "email-summary"),
    ("schema", "schema-name"),
    ("version", "version"),
    ("help exit-codes", "exit-code"),
]
#: They need a dashboard, or PostgreSQL, and have tests of their own.
ELSEWHERE = {"open", "db partition"}
#: These run until they are stopped, and so print no JSON, unless `--once` is given.
ENDLESS = ("preview --serve", "feedback watch", "feedback tail-log mail.log")
LISTS = {
    "users.csv": "email,username,name,title\nzoe@example.com,zoe,Zoe,Seat 4\n",
    "suppressed.csv": "email\ndead@example.com\n",
    "broken.csv": "email\nzoe@example.com\nnobody\n",
    "mail.log": "",
}


def every_command() -> Iterator[tuple[str, bool]]:
    """Yield the full name of every command that does something, and whether it prints JSON."""
    return walk(typer.main.get_command(app))


def walk(command: Any, prefix: str = "") -> Iterator[tuple[str, bool]]:
    """Yield the commands of a group, and of the groups in it."""
    for name, found in getattr(command, "commands", {}).items():
        if hasattr(found, "commands"):
            yield from walk(found, f"{prefix}{name} ")
        else:
            yield prefix + name, prints_json(found.callback)


#: Whether a command prints JSON, by its full name.
PRINTS_JSON = dict(every_command())
#: The commands that print no JSON.
WITHOUT_JSON = [name for name, has_json in PRINTS_JSON.items() if not has_json]


def has_json(command: str) -> bool:
    """Whether a command prints JSON."""
    return PRINTS_JSON.get(command, True)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with a delivery log that has something of everything, and the names in it."""
    folder = tmp_path_factory.mktemp("log")
    runtime = Runtime(Settings(mailctl_home=folder / ".mailctl"))
    for name, text in LISTS.items():
        (folder / name).write_text(text)
    runtime.suppressions.add(
        {"dead@example.com": "gone"}, source=SuppressionSource.OPERATOR, actor="ada@desk"
    )
    runtime.unsubscribes.add("ada@example.com", kind="newsletter")
    runtime.pauses.pause(PauseScope.QUEUE, "stopped", actor="ada@desk", reason="")
    for campaign in ("spring", "autumn"):
        request = EmailRequest(kind=runtime.catalog.get("welcome"), campaign=campaign)
        list(CampaignRecorder(runtime, request).record([RecipientRow(line=1, email="max@example.com")]))
    runtime.pauses.pause(PauseScope.CAMPAIGN, "autumn", actor="ada@desk", reason="")
    key = runtime.api_keys.create("on-call")
    content = Content(user=User(email="zoe@example.com"))
    waiting, failed = (
        Enqueuer(runtime).record(EmailRequest(kind=runtime.catalog.get("welcome")), [content] * 2).ids
    )
    with writing(runtime.engine) as connection:
        refused = {"smtp_code": 550, "smtp_enhanced": "5.7.1", "error": "550 5.7.1 blocked"}
        change_state(
            connection, emails.c.id == failed, State.FAILED, text="refused", values=refused, now=utc_now()
        )
    runtime.close()
    return folder, {"id": waiting, "failed": failed, "key": key.id}


def copy_set_up(folder: Path, target: Path) -> None:
    """Copy the lists and the delivery log: a database in use is more than the bytes of one file."""
    for name in LISTS:
        copyfile(folder / name, target / name)
    for name in ("cur", "new", "tmp"):
        (target / "box" / name).mkdir(parents=True)
    home = target / ".mailctl"
    home.mkdir()
    with (
        closing(sqlite3.connect(folder / ".mailctl" / "mailctl.db")) as log,
        closing(sqlite3.connect(home / "mailctl.db")) as copied,
    ):
        log.backup(copied)


def start_worker(home: Path) -> None:
    """Let the log know of a worker, which runs elsewhere, and of one that has died there."""
    runtime = Runtime(Settings(mailctl_home=home))
    now = utc_now()
    earlier = WorkerRegistry(runtime.engine, clock=lambda: now - timedelta(minutes=5))
    earlier.record_heartbeat(worker(now, id="w0", name="dead@elsewhere", host="elsewhere.example"))
    runtime.workers.record_heartbeat(worker(now, name="celery@elsewhere", host="elsewhere.example"))
    runtime.close()


def validator(name: str) -> Draft202012Validator:
    """Return the validator of a schema."""
    schema = find_schema(name).generate()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize(("line", "schemas"), COMMANDS, ids=[line for line, _ in COMMANDS])
def test_printed_objects_match_their_schema(
    run: Run,
    log: tuple[Path, dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    schemas: str,
) -> None:
    """Every line of the output is an object, whether the command succeeds or not."""
    monkeypatch.setenv("MAILCTL_FEEDBACK_MAILDIR", "box")
    folder, names_in_log = log
    copy_set_up(folder, tmp_path)
    if line.startswith("workers"):
        start_worker(tmp_path / ".mailctl")
    words = shlex.split(line.format(**names_in_log))
    code, out = run(*words, "--json")
    assert code in (0, 1, 3, 8), out
    printed, names = [json.loads(text) for text in out.splitlines()], schemas.split()
    assert printed
    if len(names) == 1:
        names *= len(printed)
    for found, name in zip(printed, names, strict=True):
        errors = [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(found)]
        assert errors == []


def test_every_command_has_a_schema() -> None:
    """Or it says that it prints no JSON."""
    covered = {line.split(" --")[0] for line, _ in COMMANDS} | ELSEWHERE
    missing = [
        name
        for name, has_json in PRINTS_JSON.items()
        if has_json and not any(f"{line} ".startswith(f"{name} ") for line in covered)
    ]
    assert [name for name in missing if not name.startswith("send ")] == []


@pytest.mark.parametrize("line", [*WITHOUT_JSON, *ENDLESS])
def test_a_command_without_json_refuses_the_option(mailctl: Mailctl, line: str) -> None:
    """Instead of printing text or nothing."""
    ran = mailctl(*line.split(), "--json")
    assert (ran.code, ran.out) == (ExitCode.USAGE, "")
    assert "prints no JSON. Leave it out." in ran.err


@pytest.mark.parametrize("row", [row for row in ROWS if not row.until and has_json(row.command)], ids=str)
def test_an_empty_log_is_no_reason_for_text(mailctl: Mailctl, tmp_path: Path, row: Row) -> None:
    """Every command prints objects, or nothing where its text is at most a heading."""
    (tmp_path / "users.csv").write_text(LISTS["users.csv"])
    Runtime(Settings(mailctl_home=tmp_path / ".mailctl")).close()
    words = row.words(dict.fromkeys(("pending", "held", "sent", "failed", "campaign", "key"), "unknown"))
    as_json = mailctl(*words, "--json")
    if as_json.out or as_json.code != ExitCode.DONE:
        assert is_json_document(as_json.out) or all(isinstance(each, dict) for each in as_json.lines)
    else:
        assert len(mailctl(*words).out.splitlines()) <= 1


def is_json_document(text: str) -> bool:
    """Whether a text is one object, which may be indented."""
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
