"""What somebody tries in the first hour: settings, lists, names and ids that are not quite right."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest

from mailctl import EmailService, runtime
from mailctl.delivery_log.storage.engine import open_engine
from mailctl.delivery_log.storage.urls import parse_url
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.errors import ConfigurationError, ExtraMissing
from mailctl.settings import Settings
from tests.integration.commands import REFUSED, fail, state_of, welcome

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.commands import Mailctl

#: Settings with which no email can be made, and what is said of each.
UNUSABLE = {
    "EMAIL_FROM_ADDRESS": "nobody",
    "EMAIL_FROM_NAME": "a\nb",
    "PROJECT_NAME": "a\nb",
    "MAILCTL_REPLY_TO": "nobody",
    "MAILCTL_HEADERS": "X-Tenant",
    "MAILCTL_TEMPLATES": "nowhere",
    "MAILCTL_LINK_MINT": "nowhere:mint",
    "FRONTEND_URL": "https://shop.example@evil.example",
    "MAILCTL_LINK_ORIGINS": "https://shop.example\\evil",
}


class TestSettings:
    @pytest.mark.parametrize(("name", "value"), UNUSABLE.items(), ids=UNUSABLE)
    def test_what_no_email_can_be_made_with_is_refused_at_the_gate(
        self, mailctl: Mailctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        """By all that record emails, and by the worker: not hours later, by an email that waits."""
        (tmp_path / "users.csv").write_text("email\nzoe@example.com\n")
        monkeypatch.setenv(name, value)
        for line in (
            "send welcome --user-id 1",
            "send welcome --user-id 1 --dry-run",
            "send welcome --users-file users.csv",
            "worker --drain",
        ):
            ran = mailctl(*line.split())
            assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1), (line, ran.err)
            assert ran.err.startswith(f"error: {name}"), (line, ran.err)
            assert not (tmp_path / ".mailctl").exists(), line

    def test_a_service_is_told_when_it_starts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """By `prepare`, before the first request."""
        runtime.configure(Settings(mailctl_home=tmp_path / "home", email_from_address="nobody"))
        try:
            with pytest.raises(ConfigurationError, match="EMAIL_FROM_ADDRESS"):
                asyncio.run(EmailService.prepare())
        finally:
            runtime.close()
            runtime.configure(Settings())

    def test_the_first_lines_of_a_worker_tell_of_misspelt_names(
        self, mailctl: Mailctl, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It would run, with a setting that is not in force."""
        monkeypatch.setenv("debug", "False")
        ran = mailctl("worker", "--loglevel", "nothing")
        first, *_ = ran.err.splitlines()
        assert first.startswith("warning: debug: This is set in the environment")
        assert first.endswith("Did you mean DEBUG?")

    @pytest.mark.parametrize(
        ("scheme", "missing", "fix"),
        [
            ("mysql", "pymysql", "pip install pymysql"),
            ("mariadb+asyncmy", "pymysql", "pip install pymysql"),
            ("oracle", "oracledb", "pip install oracledb"),
            ("mssql", "pyodbc", "pip install pyodbc"),
        ],
    )
    def test_a_missing_driver_is_named_with_what_installs_it(
        self, monkeypatch: pytest.MonkeyPatch, scheme: str, missing: str, fix: str
    ) -> None:
        """The extra for PostgreSQL would be of no use."""
        monkeypatch.setitem(sys.modules, missing, None)
        with pytest.raises(ConfigurationError) as raised:
            open_engine(parse_url(f"{scheme}://u:p@h/d", setting="DATABASE_URL"), setting="DATABASE_URL")
        assert raised.value.fix.endswith(fix)
        assert "postgres]" not in raised.value.fix

    def test_the_driver_of_postgresql_comes_with_an_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Which is installed from the source: there is no index that has mailctl."""
        monkeypatch.setitem(sys.modules, "psycopg", None)
        with pytest.raises(ExtraMissing) as raised:
            open_engine(parse_url("postgresql://u:p@h/d", setting="DATABASE_URL"), setting="DATABASE_URL")
        assert raised.value.fix.endswith("pip install '.[postgres]'")

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("redis://127.0.0.1:1/0", "redis://127.0.0.1:1/0"),
            ("redis://:@127.0.0.1:1/0", "redis://127.0.0.1:1/0"),
            ("redis://:secret@127.0.0.1:1/0", "redis://:***@127.0.0.1:1/0"),
        ],
    )
    def test_a_password_is_masked_where_there_is_one(
        self, mailctl: Mailctl, monkeypatch: pytest.MonkeyPatch, url: str, shown: str
    ) -> None:
        """A mask where none was given sends people looking for it."""
        monkeypatch.setenv("CELERY_BROKER_URL", url)
        mailctl("db", "upgrade")
        assert f"The broker at {shown} does not answer" in mailctl("health").out


class TestLists:
    @pytest.mark.parametrize(
        "content", ["", "\n\n", "# nobody yet\n", "email\n", "email,name\n\n,\n", "\ufeff"]
    )
    @pytest.mark.parametrize("command", ["send welcome --users-file", "suppress import", "users import"])
    def test_a_list_of_nobody_is_refused(
        self, mailctl: Mailctl, tmp_path: Path, command: str, content: str
    ) -> None:
        """Such as one that was exported without its rows; from a file and from standard input."""
        (tmp_path / "list.csv").write_text(content, encoding="utf-8")
        for source in ("list.csv", "-"):
            ran = mailctl(*command.split(), source, stdin=content)
            assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1), ran.err

    @pytest.mark.parametrize("command", ["status", "hold", "retry"])
    def test_no_id_is_said(self, mailctl: Mailctl, command: str) -> None:
        """A pipe may bring none, which is no error."""
        welcome(mailctl)
        ran = mailctl(command, "-", stdin="# none\n\n")
        assert (ran.code, ran.out, ran.err) == (0, "", "There are no ids on stdin; nothing was done.\n")

    def test_a_dry_run_counts_what_the_real_one_does(self, mailctl: Mailctl, tmp_path: Path) -> None:
        """Two rows of one address are one email; what the campaign has already is not sent again."""
        rows = "".join(f"{name}@example.com\n" for name in ("a", "b", "A", "c", "b"))
        (tmp_path / "users.csv").write_text(f"email\n{rows}")
        send = ("send", "welcome", "--users-file", "users.csv", "--campaign", "spring")
        for planned, done in (
            (
                "3 emails would be sent, 2 already recorded; 0 invalid rows.",
                "3 emails recorded, 2 recorded before",
            ),
            (
                "0 emails would be sent, 5 already recorded; 0 invalid rows.",
                "0 emails recorded, 5 recorded before",
            ),
        ):
            assert mailctl(*send, "--dry-run").err == f"{planned}\n"
            assert mailctl(*send).out == f"{done}; campaign spring\n"

    def test_an_email_that_is_named_twice_counts_once(self, mailctl: Mailctl) -> None:
        """In full, short, in capitals; by --dry-run as by the real run."""
        ids = [welcome(mailctl, f"user{number}@example.com") for number in range(3)]
        given = "\n".join([*ids, ids[0], ids[1].upper(), ids[2][:20], "unknown", "unknown"])
        planned = mailctl("hold", "-", "--dry-run", "--json", stdin=given).lines
        done = mailctl("hold", "-", "--json", stdin=given).lines
        assert [line["task_id"] for line in planned] == [line["task_id"] for line in done]
        assert len(done) == 4


class TestNames:
    def test_an_id_may_be_pasted_with_spaces_and_in_capitals(self, mailctl: Mailctl) -> None:
        """Into every command that takes one."""
        task_id = welcome(mailctl)
        for given in (f" {task_id}\t", task_id.upper(), f"  {task_id[:12].upper()} "):
            assert mailctl("status", given, "--json").lines[0]["task_id"] == task_id
            assert mailctl("why", given, "--json").lines[0]["task_id"] == task_id
            assert mailctl("show", given).code == 0
            assert mailctl("hold", given).code == 0
            assert state_of(mailctl, task_id) == "held"
            assert mailctl("release", "-", stdin=f"{given}\n").code == 0

    @pytest.mark.parametrize(
        ("words", "known"),
        [
            ("list --queue clery", "list --queue celery"),
            ("list --queue clery --state failed", "list --queue mailctl.bulk"),
            ("list --queue clery --watch", ""),
            ("list --campaign sprung", "list --campaign spring --state failed"),
            ("monitor --queue clery --min-workers 0", "monitor --queue mailctl.bulk --min-workers 0"),
        ],
    )
    def test_a_name_that_nobody_knows_is_refused_by_what_looks_too(
        self, mailctl: Mailctl, tmp_path: Path, words: str, known: str
    ) -> None:
        """As by what acts: a slip of the pen would look as if there was nothing."""
        (tmp_path / "users.csv").write_text("email\nzoe@example.com\n")
        mailctl("send", "welcome", "--users-file", "users.csv", "--campaign", "spring")
        refused = mailctl(*words.split())
        assert (refused.code, refused.out, refused.err.count("\n")) == (3, "", 1)
        assert not known or mailctl(*known.split()).code == 0


def test_purging_leaves_held_emails_and_says_so(mailctl: Mailctl) -> None:
    """With the command that cancels them too; it is the one for the same filters."""
    first, second = welcome(mailctl), welcome(mailctl, "ada@example.com")
    mailctl("hold", first)
    said = "1 held email not changed. Cancel with: mailctl cancel --state held --queue celery\n"
    for more in ("--dry-run", "--yes"):
        assert mailctl("queue", "purge", "celery", more).err.endswith(said)
    assert (state_of(mailctl, first), state_of(mailctl, second)) == ("held", "cancelled")
    assert mailctl("cancel", "--state", "held", "--queue", "celery", "--yes").code == 0
    assert "held email" not in mailctl("queue", "purge", "celery", "--yes").err


class TestMailServer:
    def hop(self, mailctl: Mailctl) -> dict[str, object]:
        """Return what `health` says of the mail server."""
        hops = mailctl("health", "--json").lines[0]["hops"]
        return next(hop for hop in hops if hop["name"] == "mail-server")

    def test_health_says_what_is_known_of_it(self, mailctl: Mailctl, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing until it was asked; then its last answer, or how often it has failed since."""
        monkeypatch.setenv("EMAIL_ENABLED", "True")
        task_id = welcome(mailctl)
        hop = self.hop(mailctl)
        assert hop["detail"] == "unknown: it has replied to no email in the last 60 min"
        assert hop["fix"] == "mailctl health --canary"
        fail(task_id, REFUSED)
        assert str(self.hop(mailctl)["detail"]).endswith(" ago; result: failed")
        trouble = Outcome(kind=OutcomeKind.DEFERRED, reply=SmtpReply(text="refused"), stage="connect")
        circuits = runtime.current().circuits
        assert circuits is not None
        circuits.record_failure(trouble.text_with_stage, stage=trouble.stage)
        runtime.close()
        assert (
            self.hop(mailctl)["detail"]
            == f"the last attempt at localhost:587 failed: {trouble.text_with_stage}"
        )
