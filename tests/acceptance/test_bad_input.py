"""Whatever is wrong: one sentence that says so, the right exit code, no traceback, nothing lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from mailctl import runtime
from mailctl.cli.main import main
from mailctl.settings import Settings
from tests.acceptance.terminal import Result
from tests.servers import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.desk import Desk
    from tests.acceptance.terminal import Terminal
    from tests.smtp_server import ScriptedSmtpServer

USAGE, NOT_FOUND, REFUSED, UNAVAILABLE, PENDING = 2, 3, 4, 5, 8


class Here:
    """Runs commands in this process, from the arguments to the exit code: many, in little time."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def run(self, *arguments: str, **environment: str) -> Result:
        """Run a mailctl command to its end."""
        with self._monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            try:
                code = main(arguments)
            finally:
                runtime.close()
        out, err = self._capsys.readouterr()
        return Result(code, out, err)

    def recorded(self) -> int:
        """How many emails are in the delivery log."""
        file = self.folder / ".mailctl" / "mailctl.db"
        if not file.exists():
            return 0
        with closing(sqlite3.connect(file)) as connection:
            return int(connection.execute("SELECT count(*) FROM mailctl_emails").fetchone()[0])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """An empty folder without any setting in the environment."""
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    return Here(tmp_path, monkeypatch, capsys)


def is_one_sentence(result: Result) -> bool:
    """Whether the error is a single line on stderr, and stdout is empty."""
    lines = result.err.strip().splitlines()
    return len(lines) == 1 and lines[0].startswith("error: ") and not result.out


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("send", "welcome", "--user-id", "99"), NOT_FOUND, "no user 99"),
        (("send", "welcome", "--user-id", "x; DROP TABLE users"), USAGE, "user id"),
        (("send", "welcome", "--email", "not-an-address"), USAGE, "not a valid email address"),
        (("send", "welcome", "--email", "a@example.com\nBcc: b@example.com"), USAGE, "control character"),
        (("send", "welcome", "--email", "a@example.com", "--name", "x\r,evil@example.com,"), USAGE, "name"),
        (("status", "\udcff"), USAGE, "not UTF-8"),
        (("list", "--to", "\udcff"), USAGE, "not UTF-8"),
        (("send", "welcome"), USAGE, "--user-id"),
        (("send", "welcome", "--user-id", "1", "--email", "a@example.com"), USAGE, "--user-id"),
        (("send", "birthday", "--user-id", "1"), USAGE, "birthday"),
        (("send", "new-ip", "--user-id", "1"), USAGE, "--ip"),
        (("send", "new-ip", "--user-id", "1", "--ip", "999.1.1.1"), USAGE, "not an IP address"),
        (("send", "email", "--user-id", "1", "--subject", "Hi", "--set", "title"), USAGE, "NAME=VALUE"),
        (("send", "email", "--user-id", "1", "--subject", "Hi", "--set", "=x"), USAGE, "NAME=VALUE"),
        (("send", "email", "--user-id", "1", "--subject", "Hi", "--set", "__class__=x"), USAGE, "__class__"),
        (
            ("send", "email", "--user-id", "1", "--subject", "Hi", "--template", "../secret"),
            USAGE,
            "template",
        ),
        (("send", "email", "--user-id", "1", "--subject", ""), USAGE, "subject"),
        (
            ("send", "email", "--user-id", "1", "--subject", "Hi", "--template", "none-such"),
            USAGE,
            "none-such",
        ),
        (("send", "welcome", "--user-id", "1", "--at", "yesterday"), USAGE, "not a time"),
        (("send", "welcome", "--user-id", "1", "--at", "2001-01-01T00:00"), USAGE, "has passed"),
        (("send", "welcome", "--user-id", "1", "--in", "soon"), USAGE, "not a duration"),
        (("send", "welcome", "--user-id", "1", "--in", "1h", "--at", "2030-01-01"), USAGE, "combined"),
        (("send", "welcome", "--user-id", "1", "--idempotency-key", "a b"), USAGE, "idempotency key"),
        (("send", "welcome", "--user-id", "1", "--no-such-option"), USAGE, "--no-such-option"),
        (("send", "welcome", "--user-id", "1", "--timeout", "soon"), USAGE, "--timeout"),
        (("status", "no-such-id"), NOT_FOUND, "No email has the id no-such-id"),
        (("status", ""), USAGE, "empty"),
        (("worker", "--pool", "steam"), USAGE, "steam"),
        (("worker", "--loglevel", "LOUD"), USAGE, "LOUD"),
        (("users", "add", "nobody"), USAGE, "email"),
        (("users", "import", "none-such.csv"), USAGE, "none-such.csv"),
        (("check-config", "--env-file", "none-such.env"), USAGE, "none-such.env"),
        (("worker", "--app", "no.such.module:app"), USAGE, "no.such.module"),
        (("send", "welcome", "--user-id", "1", "--app", "json:loads"), USAGE, "not a Celery app"),
        (("send", "welcome", "--user-id", "1", "--app", "json"), USAGE, "MODULE:ATTR"),
        (("no-such-command",), USAGE, "no-such-command"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else None,
)
def test_wrong_arguments_are_told_in_one_sentence(
    here: Here, arguments: tuple[str, ...], code: int, text: str
) -> None:
    """And nothing is recorded."""
    result = here.run(*arguments)
    assert (result.code, is_one_sentence(result)) == (code, True), result
    assert text in result.err
    assert here.recorded() == 0


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\xff\xfe\x00", ".env"),
        (b"REDIS_PORT=many\n", "REDIS_PORT"),
        (b"REDIS_PORT=99999\n", "REDIS_PORT"),
        (b"EMAIL_TLS=perhaps\n", "EMAIL_TLS"),
        (b"DEBUG=maybe\n", "DEBUG"),
        (b"MAILCTL_DATABASE_URL=nonsense\n", "MAILCTL_DATABASE_URL"),
        (b"MAILCTL_LINK_MINT=no.such:thing\n", "MAILCTL_LINK_MINT"),
        (b"MAILCTL_TEMPLATES=/no/such/folder\n", "MAILCTL_TEMPLATES"),
    ],
)
def test_wrong_settings_are_told_by_name(here: Here, content: bytes, text: str) -> None:
    """Exit 2, and never the value of a secret."""
    (here.folder / ".env").write_bytes(content)
    result = here.run("send", "welcome", "--user-id", "1", "--dry-run")
    assert (result.code, is_one_sentence(result)) == (USAGE, True), result
    assert text in result.err


def test_a_log_that_cannot_be_written_is_unavailable(here: Here) -> None:
    """Its folder is a file here, which not even root can write into."""
    (here.folder / "home").write_text("in the way")
    result = here.run("send", "welcome", "--user-id", "1", MAILCTL_HOME="home")
    assert (result.code, is_one_sentence(result)) == (UNAVAILABLE, True), result
    assert "delivery log" in result.err


def test_a_log_that_is_no_database_is_told(here: Here) -> None:
    """A file of something else is not touched."""
    home = here.folder / ".mailctl"
    home.mkdir()
    (home / "mailctl.db").write_text("this is not a database, but a text of more than a hundred bytes" * 3)
    result = here.run("send", "welcome", "--user-id", "1")
    assert (result.code, is_one_sentence(result)) == (UNAVAILABLE, True), result


def test_a_log_of_a_newer_mailctl_is_refused(here: Here) -> None:
    """Working on a schema that one does not know could lose emails."""
    here.run("send", "welcome", "--user-id", "1")
    with closing(sqlite3.connect(here.folder / ".mailctl" / "mailctl.db")) as connection, connection:
        connection.execute("UPDATE mailctl_version SET version_num = '9999'")
    result = here.run("send", "welcome", "--user-id", "1")
    assert (result.code, is_one_sentence(result)) == (USAGE, True), result
    assert "9999" in result.err


def test_users_that_cannot_be_reached_are_told(here: Here) -> None:
    """The service's database is down; nothing is recorded, and no password shown."""
    url = f"postgresql+asyncpg://app:database-password-canary@127.0.0.1:{free_port()}/shop"
    result = here.run("send", "welcome", "--user-id", "1", DATABASE_URL=url)
    assert (result.code, is_one_sentence(result)) == (UNAVAILABLE, True), result
    assert "canary" not in result.err


@pytest.mark.parametrize("trouble", ["port", "password"])
def test_a_broker_that_cannot_be_used_keeps_the_email(
    production: Terminal, here: Here, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """It is recorded, and the trouble told."""
    monkeypatch.chdir(production.folder)
    wrong = {"REDIS_PORT": str(free_port())} if trouble == "port" else {"REDIS_PASSWORD": "wrong-canary"}
    result = here.run("send", "welcome", "--email", "zoe@example.com", "--json", **wrong)
    assert (result.code, result.data["state"]) == (0, "pending")
    assert len(result.err.strip().splitlines()) == 1
    assert "The broker at" in result.err
    assert "canary" not in result.err
    asked = here.run("status", result.data["task_id"], "--json", **wrong)
    assert (asked.code, asked.data["state"]) == (0, "pending")
    assert "broker" in asked.data["explanation"]
    code = UNAVAILABLE if trouble == "port" else USAGE
    assert production.run("worker", "--drain", **wrong).code == code
    production.run("worker", "--drain")
    assert production.status(result.data["task_id"])["state"] == "sent"


def test_a_wrong_mail_password_is_ours_to_mend(production: Terminal, smtp_server: ScriptedSmtpServer) -> None:
    """The email is kept, no attempt is burnt, and it goes out once the password is right."""
    worker = production.worker("-c", "1", EMAIL_HOST_PASSWORD="wrong-canary")
    task_id = production.send("welcome", "--email", "zoe@example.com")
    found = production.wait_for(task_id, "deferred")
    assert (found["attempts"], found["smtp"]["code"]) == (0, 535)
    assert "wrong-canary" not in worker.output
    worker.stop()
    production.worker("-c", "1")
    production.wait_for(task_id, "sent")


def test_an_unknown_id_on_redis_is_not_found(production: Terminal) -> None:
    """Celery would say PENDING."""
    result = production.run("status", "00000000-0000-0000-0000-000000000000")
    assert (result.code, is_one_sentence(result)) == (NOT_FOUND, True), result


def test_a_reader_that_goes_away_is_no_error(terminal: Terminal) -> None:
    """`mailctl users list | head -1` is everyday work."""
    shell = f"{terminal.python} -m mailctl users list | head -1"
    window = terminal.open("bash", "-c", f"set -o pipefail; {shell}", name="pipe")
    window.wait()
    assert "Traceback" not in window.output


def test_verbose_shows_the_traceback(here: Here) -> None:
    """For the bug report."""
    result = here.run("-v", "send", "welcome", "--user-id", "99")
    assert result.code == NOT_FOUND
    assert "Traceback" in result.err


def test_csv_rows_that_are_wrong_are_told_by_line(here: Here) -> None:
    """The good ones are kept; the exit code says that some were not."""
    file = here.folder / "users.csv"
    file.write_text("email,first_name\njoe@example.com,Joe\nnot-an-address,X\nsue@example.com,Sue\n")
    result = here.run("users", "import", str(file))
    assert result.code == 1
    assert "line 3" in result.err
    assert "2 added" in result.out


@pytest.mark.parametrize("arguments", ["users list", "users list --json"])
def test_a_reader_that_has_gone_is_no_failure(terminal: Terminal, arguments: str) -> None:
    """Whoever has read enough is served, also when there was more to print."""
    shell = f"{terminal.python} -m mailctl {arguments} | true"
    window = terminal.open("bash", "-c", f"set -o pipefail; {shell}", name="gone")
    assert (window.wait(), window.output) == (0, "")


def test_a_full_disk_is_told_in_one_sentence(terminal: Terminal) -> None:
    """Where the output cannot be written, the command has failed; the disk of the log is not meant."""
    told = "error: Standard output cannot be written: [Errno 28] No space left on device.\n"
    for line in ("users list", "users list --json", "--help", "config show", "preview welcome"):
        for option in ("", "-u"):  # buffered or not
            name = f"{line}{option}".replace(" ", "-")
            shell = f"{terminal.python} {option} -m mailctl {line} > /dev/full"
            window = terminal.open("bash", "-c", shell, name=name)
            assert (window.wait(), window.output) == (1, told), line


@pytest.mark.parametrize("as_json", ["", " --json"])
def test_what_is_done_is_told_although_the_results_cannot_be_written(
    terminal: Terminal, desk: Desk, as_json: str
) -> None:
    """Whoever reads only the error would do it again: a second email, a key that nobody has."""
    (terminal.folder / "list.csv").write_text("email\nuser1@example.com\nuser2@example.com\n")
    lines = (
        "send welcome --email zoe@example.com",
        "send reset --user-id 1 --user-id 2",
        "send welcome --users-file list.csv --campaign autumn",
        "keys create laptop",
    )
    told = []
    for line in lines:
        name = line.replace(" ", "-").replace("/", "")
        shell = f"{terminal.python} -m mailctl {line}{as_json} > /dev/full"
        window = terminal.open("bash", "-c", shell, name=name)
        assert window.wait() == 1, window.output
        told.append(window.output)
    sent = {email["to"]: email["task_id"] for email in desk.run("list")[1]}
    assert sent["zoe@example.com"] in told[0]
    assert len(sent) == 5
    assert sum(task_id in told[1] for task_id in sent.values()) == 2
    assert "Campaign autumn: 2 emails recorded before that." in told[2]
    [key] = desk.run("keys", "list")[1]
    assert f"mailctl keys revoke {key['id']}" in told[3]


def test_a_closed_output_is_no_failure(terminal: Terminal) -> None:
    """Whoever starts a command without one wants what it does, not what it says."""
    window = terminal.open("bash", "-c", f"{terminal.python} -m mailctl users list >&-", name="closed")
    assert (window.wait(), window.output) == (0, "")
