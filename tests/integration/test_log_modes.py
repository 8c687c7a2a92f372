"""What commands may do to the delivery log: those that only read create no file and no table."""

from __future__ import annotations

import hashlib
import shlex
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

import sqlalchemy
import typer

from mailctl.cli.context import access_mode_of
from mailctl.cli.help_text import EXIT_CODES, HelpText
from mailctl.cli.main import app
from mailctl.delivery_log.opening import open_delivery_log
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.delivery_log.suppressions import Suppressions
from mailctl.settings import Settings
from tests.integration.commands import send, welcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from tests.integration.commands import Mailctl

CREATE, ON_WRITE, UPDATE, READ, OPTIONAL = AccessMode

#: Every command, what it may do to the log, and a line that calls it; "" where a test of its own does.
COMMANDS: dict[str, tuple[AccessMode, str]] = {
    "send welcome": (ON_WRITE, "send welcome --user-id 1"),
    "send reset": (ON_WRITE, "send reset --user-id 1"),
    "send verification": (ON_WRITE, "send verification --user-id 1"),
    "send new-ip": (ON_WRITE, "send new-ip --user-id 1 --ip 192.0.2.1"),
    "send email": (ON_WRITE, "send email --user-id 1 --subject Hi --set title=Hi --set body=Hi"),
    "worker": (ON_WRITE, ""),
    "demo": (CREATE, ""),
    "status": (OPTIONAL, "status abc"),
    "why": (OPTIONAL, "why abc"),
    "show": (READ, "show abc"),
    "list": (READ, "list"),
    "web": (UPDATE, ""),
    "retry": (UPDATE, "retry --state failed --yes"),
    "cancel": (UPDATE, "cancel --state deferred --yes"),
    "hold": (UPDATE, "hold --state deferred --yes"),
    "release": (UPDATE, "release --state held --yes"),
    "resend": (UPDATE, "resend --state failed --yes"),
    "suppress add": (ON_WRITE, "suppress add zoe@example.com"),
    "suppress import": (ON_WRITE, "suppress import -"),
    "suppress list": (READ, "suppress list"),
    "suppress remove": (UPDATE, "suppress remove zoe@example.com"),
    "queue list": (READ, "queue list"),
    "queue peek": (READ, "queue peek"),
    "queue restore": (OPTIONAL, "queue restore --yes"),
    "queue pause": (UPDATE, "queue pause celery"),
    "queue resume": (UPDATE, "queue resume celery"),
    "queue purge": (UPDATE, "queue purge reports --yes"),
    "workers list": (READ, "workers list"),
    "workers ping": (READ, "workers ping"),
    "workers stop": (READ, "workers stop --yes"),
    "stats": (READ, "stats"),
    "top": (READ, "top"),
    "preview": (OPTIONAL, "preview welcome --user-id 1 --text"),
    "flower": (OPTIONAL, ""),
    "health": (READ, "health"),
    "monitor": (READ, "monitor"),
    "metrics": (READ, "metrics"),
    "check-config": (READ, "check-config --offline"),
    "users list": (OPTIONAL, "users list"),
    "users add": (ON_WRITE, "users add zoe@example.com"),
    "users import": (ON_WRITE, "users import -"),
    "keys create": (ON_WRITE, "keys create laptop"),
    "keys list": (READ, "keys list"),
    "keys revoke": (UPDATE, "keys revoke abc"),
    "db current": (READ, "db current"),
    "db upgrade": (CREATE, "db upgrade"),
    "db rekey": (UPDATE, "db rekey"),
    "db partition": (UPDATE, ""),
    "prune": (UPDATE, "prune"),
    "schema": (OPTIONAL, ""),
    **{f"campaign {name}": (UPDATE, "") for name in ("pause", "resume", "cancel", "set-rate")},
    **{f"campaign {name}": (READ, "") for name in ("list", "show")},
    "incident": (READ, ""),
    "events": (READ, "events"),
    "workers diff": (READ, "workers diff"),
    "feedback ingest": (UPDATE, ""),
    "feedback watch": (UPDATE, ""),
    "feedback serve": (ON_WRITE, ""),
    "feedback tail-log": (UPDATE, ""),
    "errors": (READ, "errors"),
    "init": (OPTIONAL, ""),
    "config show": (OPTIONAL, ""),
    "config diff": (READ, ""),
    "open": (READ, ""),
    "help": (OPTIONAL, ""),
    "version": (OPTIONAL, ""),
}
#: Of commands that write, what only looks.
DRY_RUNS = [
    *(f"{line} --dry-run" for name, (_, line) in COMMANDS.items() if name.startswith("send ")),
    *(f"{name} --state failed --dry-run" for name in ("retry", "resend")),
    *(f"{name} --state pending --dry-run" for name in ("cancel", "hold")),
    "release --state held --dry-run",
    "queue purge celery --dry-run",
    "db rekey --dry-run",
    "prune --dry-run",
]
READERS = [line for mode, line in COMMANDS.values() if mode in (READ, OPTIONAL) and line] + DRY_RUNS
#: They need no log, or tell of a missing one as a finding.
CONTENT_WITHOUT = ("preview", "users", "send", "check-config", "queue restore")
CHANGERS = [line for mode, line in COMMANDS.values() if mode is UPDATE and line]
#: What creates a log where it is done, and is refused here.
REFUSED = [
    "send welcome",
    "send welcome --email nobody",
    "send welcome --user-id 999",
    "send welcome --user-id 1 --in tomorrow",
    "send new-ip --user-id 1 --ip nowhere",
    "send email --user-id 1 --subject Hi --template nothing",
    "send welcome --users-file nowhere.csv",
    "send welcome --users-file -",
    "send welcome --all-users --campaign spring",
    "send welcome --all-users --campaign spring --max 1",
    "worker --pool nothing",
    "worker --loglevel nothing",
    "suppress add nobody",
    "suppress import -",
    "users add nobody",
    "users import -",
    "keys create ''",
]
ALL = [*READERS, *CHANGERS, *REFUSED]
#: Commands that meet a database of others: every third each. What one may do depends on its mode alone, and
#: where there is no log all are tried.
IN_DATABASES_OF_OTHERS = {"sqlite": ALL[::3], "postgresql": ALL[1::3]}
FOREIGN_TABLE = "CREATE TABLE orders (id INTEGER PRIMARY KEY)"


def commands_of(command: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, with its full name."""
    for name, found in command.commands.items():
        if hasattr(found, "commands"):
            yield from commands_of(found, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", found


def contents(folder: Path) -> dict[str, str]:
    """Return every file in a folder with the digest of what is in it, and every folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.rglob("*")
    }


def test_every_command_says_what_it_may_do_to_the_log() -> None:
    """One that does not cannot even be registered."""
    declared = {
        name: access_mode_of(found.callback) for name, found in commands_of(typer.main.get_command(app))
    }
    assert declared == {name: mode for name, (mode, _) in COMMANDS.items()}


def test_where_nothing_was_ever_sent_reading_creates_nothing(mailctl: Mailctl, tmp_path: Path) -> None:
    """The missing log is named with its address and with what creates it; exit code 3."""
    for line in READERS:
        ran = mailctl(*shlex.split(line))
        assert contents(tmp_path) == {}, line
        if not line.startswith(CONTENT_WITHOUT):
            assert ran.code == 3, line
            assert str(tmp_path / ".mailctl" / "mailctl.db") in ran.out + ran.err, line
        else:
            assert ran.code in (0, 1), (line, ran.err)


def test_what_is_refused_creates_nothing(mailctl: Mailctl, tmp_path: Path) -> None:
    """Before a request is found valid, nothing is written; the first that is valid creates the log."""
    for line in REFUSED:
        ran = mailctl(*shlex.split(line))
        assert ran.code in (2, 3, 4), (line, ran.err)
        assert contents(tmp_path) == {}, line
    assert mailctl("send", "welcome", "--user-id", "1").code == 0
    assert ".mailctl/mailctl.db" in contents(tmp_path)


def test_threads_that_write_first_create_the_log_once(tmp_path: Path) -> None:
    """Until then it reads as empty."""
    settings = Settings(mailctl_home=tmp_path / "home")
    engine = open_delivery_log(settings, AccessMode.ON_WRITE)
    suppressions = Suppressions(engine)
    assert (suppressions.find("a@example.com"), contents(tmp_path)) == (None, {})

    def add(number: int) -> None:
        suppressions.add({f"{number}@example.com": ""}, source="operator", actor="ada")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(add, range(4)))
    assert [suppressions.find(f"{number}@example.com") is None for number in range(4)] == [False] * 4
    engine.dispose()


def test_what_changes_emails_creates_no_log_either(mailctl: Mailctl, tmp_path: Path) -> None:
    """There is nothing to change: the address is wrong."""
    for line in CHANGERS:
        ran = mailctl(*shlex.split(line))
        assert (ran.code, contents(tmp_path)) == (3, {}), (line, ran.err)
        assert ran.err.startswith("error: There is no delivery log at sqlite:////"), line
        assert "The first email or worker creates it" in ran.err, line


def test_a_database_of_another_program_is_left_as_it_is(
    mailctl: Mailctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even its mode is changed."""
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(FOREIGN_TABLE)
    before = contents(tmp_path)
    monkeypatch.setenv("MAILCTL_DATABASE_URL", f"sqlite:///{path}")
    for line in IN_DATABASES_OF_OTHERS["sqlite"]:
        ran = mailctl(*shlex.split(line))
        assert contents(tmp_path) == before, line
        assert ran.code == 3 or line in REFUSED or line.startswith(CONTENT_WITHOUT), (line, ran.err)


def test_an_empty_database_on_a_server_stays_empty(
    mailctl: Mailctl, tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No table comes into being."""
    monkeypatch.setenv("MAILCTL_DATABASE_URL", postgres_url)
    for line in IN_DATABASES_OF_OTHERS["postgresql"]:
        ran = mailctl(*shlex.split(line))
        assert ran.code == 3 or line in REFUSED or line.startswith(CONTENT_WITHOUT), (line, ran.err)
    engine = sqlalchemy.create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    assert sqlalchemy.inspect(engine).get_table_names() == []
    engine.dispose()
    assert contents(tmp_path) == {}


def test_reading_a_log_leaves_it_as_it_is(mailctl: Mailctl, tmp_path: Path) -> None:
    """To the last byte, and with no other file beside it."""
    email_id = welcome(mailctl)
    before = contents(tmp_path)
    for line in READERS:
        ran = mailctl(*shlex.split(line.replace(" abc", f" {email_id}")))
        assert contents(tmp_path) == before, line
        assert ran.code in (0, 1) or line.startswith("workers "), (line, ran.err)


def test_the_first_email_creates_the_log(mailctl: Mailctl) -> None:
    """As does every command that adds something."""
    assert mailctl("list").code == 3
    assert mailctl("keys", "create", "laptop").code == 0
    assert "is empty" in mailctl("list").err
    send(mailctl, "welcome", "--user-id", "1")
    assert "welcome" in mailctl("list").out


def test_an_empty_log_is_named_and_so_are_logs_nearby(
    mailctl: Mailctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever finds nothing may have asked the wrong one."""
    welcome(mailctl)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    home = f"MAILCTL_HOME={tmp_path / '.mailctl'}"
    assert f"there is one nearby: {home}." in mailctl("list").err
    mailctl("db", "upgrade")
    for line in ("list", "cancel --state pending --yes"):
        told = mailctl(*line.split()).err
        assert told.strip() == (
            f"The delivery log at sqlite:///{tmp_path}/below/.mailctl/mailctl.db is empty; "
            f"there is one nearby: {home}."
        )
    monkeypatch.chdir(tmp_path)
    assert mailctl("list", "--state", "failed").err.strip() == (
        f"No email in the delivery log at sqlite:///{tmp_path}/.mailctl/mailctl.db matches."
    )


def test_a_user_who_is_not_found_without_a_log_may_be_in_one_nearby(
    mailctl: Mailctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table of users is part of the log: its address may be wrong."""
    welcome(mailctl)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    monkeypatch.setenv("DEBUG", "False")
    monkeypatch.setenv("SECRET_KEY", token_urlsafe(48))
    for line in ("send reset --user-id 42", "preview reset --user-id 42", "users list"):
        ran = mailctl(*line.split())
        assert ran.code == 3, (line, ran.err)
        assert f"there is no delivery log at sqlite:///{tmp_path}/below/.mailctl/mailctl.db" in ran.err, line
        assert f"there is one nearby: MAILCTL_HOME={tmp_path / '.mailctl'}." in ran.err, line


def test_what_names_a_log_nearby_leads_to_it(
    mailctl: Mailctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an address is set, MAILCTL_HOME is without effect."""
    email_id = welcome(mailctl)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    monkeypatch.setenv("MAILCTL_DATABASE_URL", f"sqlite:///{tmp_path}/none.db")
    told = mailctl("list").err
    name, _, value = told.partition("nearby: ")[2].strip().removesuffix(".").partition("=")
    monkeypatch.setenv(name, value)
    assert email_id in mailctl("list", "--json").out, told


def test_what_the_demo_says_leads_to_its_log(mailctl: Mailctl, tmp_path: Path) -> None:
    """Also in the folder of a service, whose .env names another log and production."""
    (tmp_path / ".env").write_text(f"DEBUG=False\nMAILCTL_DATABASE_URL=sqlite:///{tmp_path}/service.db\n")
    [command] = [
        line for line in mailctl("demo").out.splitlines() if line.startswith("See what happened to one: ")
    ]
    line = command.removeprefix("See what happened to one: ").replace(
        "mailctl ", f"{sys.executable} -m mailctl ", 1
    )
    ran = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, "captured" in ran.stdout) == (0, True), (command, ran.stderr)


def test_reading_a_log_of_an_older_mailctl_says_how_to_upgrade_it(mailctl: Mailctl, tmp_path: Path) -> None:
    """In one sentence, and changes nothing."""
    welcome(mailctl)
    with closing(sqlite3.connect(tmp_path / ".mailctl" / "mailctl.db", isolation_level=None)) as connection:
        connection.execute("UPDATE mailctl_version SET version_num = '0001'")
    before = contents(tmp_path)
    for line in [*READERS, *CHANGERS]:
        if line.split()[0] in ("check-config", "db"):
            continue  # they are about the version
        ran = mailctl(*shlex.split(line))
        assert "Run: mailctl db upgrade" in ran.out + ran.err, line
        assert (ran.code, contents(tmp_path)) == (2, before), line


def test_the_help_has_the_exit_code_for_a_log_that_cannot_be_used(mailctl: Mailctl, tmp_path: Path) -> None:
    """Scripts tell from it whose fault it is; the message has the next step."""
    home = tmp_path / ".mailctl"
    home.mkdir()
    (home / "mailctl.db").write_bytes(b"no database" * 1000)
    found = dict(commands_of(typer.main.get_command(app)))
    for name, (_, line) in COMMANDS.items():
        if not line:
            continue
        ran = mailctl(*shlex.split(line))
        codes = [code.split()[0] for code in HelpText.parse(found[name].help).tail[EXIT_CODES]]
        assert str(int(ran.code)) in set(codes) - {"0"}, (line, ran.code, codes)
        told = ran.out + ran.err
        assert "Stop the workers and the services" in told, line
        assert "restore the file from a backup" in told, line


def test_a_broker_answers_where_there_is_no_log(
    mailctl: Mailctl, tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a host that shares no log with the workers; it is said that there is none."""
    monkeypatch.setenv("CELERY_BROKER_URL", redis_url)
    monkeypatch.setenv("CELERY_RESULT_BACKEND", redis_url)
    told = "Showing only what the broker reports"
    for line, code in (("queue list", 0), ("queue peek", 0), ("workers list", 0), ("workers ping", 3)):
        ran = mailctl(*line.split())
        assert (ran.code, told in ran.err, contents(tmp_path)) == (code, True, {}), (line, ran.err)
    for line, said in (("status abc", "there is no delivery log at"), ("why abc", ".mailctl/mailctl.db")):
        ran = mailctl(*line.split())
        assert (ran.code, said in ran.out + ran.err) == (3, True), line
    assert contents(tmp_path) == {}
