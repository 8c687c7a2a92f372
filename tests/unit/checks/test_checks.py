"""What `check-config` finds without asking anybody: settings, app, log, users, templates and hazards."""

from __future__ import annotations

import importlib
import os
import sqlite3
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from mailctl.checks import Finding, FindingStatus, check_names, is_ok, run_checks
from mailctl.deadlines import call_with_deadline
from mailctl.delivery_log.heartbeats import Worker
from mailctl.domain.catalog import BUILT_IN_KINDS, TASK_NAMES
from mailctl.errors import ServiceUnavailable
from mailctl.redaction import mask_url
from mailctl.runtime import Runtime
from mailctl.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

OK, WARN, FAIL, SKIP = FindingStatus


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty working directory from which modules can be imported, and an environment without settings."""
    for name in {field.upper() for field in Settings.model_fields} & os.environ.keys():
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def check(settings: Settings | None = None, *, send_test: str | None = None) -> dict[str, Finding]:
    """Run all checks offline; return the findings by "group/name"."""
    findings = run_checks(settings or Settings.load(), offline=True, send_test=send_test)
    return {f"{finding.group}/{finding.name}": finding for finding in findings}


def production(**changes: Any) -> Settings:
    """Return settings for production that nothing is wrong with, but for `changes`."""
    sound: dict[str, Any] = {
        "debug": False,
        "celery_queue_default": "mailctl",
        "secret_key": SecretStr("a-secret-key-of-the-service-that-is-long"),
        "frontend_url": "https://app.example.org",
        "email_enabled": True,
        "email_host": "mail.example.org",
        "email_from_address": "noreply@shop.internal",
        "project_name": "Shop",
    }
    return Settings(**{**sound, **changes})


def write_module(name: str, source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a module of a service's own that is forgotten after the test."""
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    importlib.invalidate_caches()
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


class TestTheWhole:
    def test_a_fresh_place_is_sound(self, tmp_path: Path) -> None:
        """Without any setting everything works, and nothing was made by looking."""
        found = check()
        assert is_ok(found.values())
        assert {finding.group for finding in found.values()} == {
            *("settings", "rules", "app", "broker", "log", "users", "templates", "smtp", "workers", "hazards")
        }
        assert list(tmp_path.iterdir()) == []

    def test_what_does_not_work_has_a_fix(self) -> None:
        """A finding without one only worries people."""
        found = check(
            Settings(debug=False, celery_broker_url=SecretStr("memory://"), mailctl_app="nothing:app")
        )
        troubles = [finding for finding in found.values() if finding.status in (FAIL, WARN)]
        assert len(troubles) > 4
        assert all(finding.fix for finding in troubles)
        assert not is_ok(troubles)

    def test_a_warning_alone_is_not_a_failure(self) -> None:
        """Production begins before the first worker does."""
        found = check(production())
        assert found["workers/alive"].status is WARN
        assert is_ok(found.values())

    def test_offline_asks_nobody(self) -> None:
        """What would have been asked says so."""
        found = check(production(database_url=SecretStr("postgresql://db.example.org/shop")))
        for name in ("broker/broker", "broker/results", "users/directory", "smtp/connect"):
            assert (found[name].status, found[name].detail) == (SKIP, "offline"), name

    def test_findings_come_one_by_one(self) -> None:
        """A terminal shows the first ones while the others are still sought."""
        first = next(run_checks(Settings(), offline=True))
        assert (first.group, first.name) == ("settings", "profile")

    def test_a_password_that_is_a_word_hides_no_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Secrets are masked where they stand, not wherever their letters do."""
        for name, value in {
            "EMAIL_HOST_PASSWORD": "password",
            "REDIS_PASSWORD": "tasks",
            "CELERY_RESULT_BACKEND": "redis://:results@localhost:6379/0",
            "MAILCTL_DATABASE_URL": "postgresql://postgres:postgres@postgres.internal/postgres",
            "DATABASE_URL": "postgresql+asyncpg://database:database@h/database",
            "SECRET_KEY": "template",
        }.items():
            monkeypatch.setenv(name, value)
        found = check()
        texts = " ".join(repr(finding) for finding in found.values())
        assert found["settings/MAILCTL_DATABASE_URL"].detail == (
            "postgresql://postgres:***@postgres.internal/postgres (from environment)"
        )
        assert found["settings/DATABASE_URL"].detail.startswith(
            "postgresql+asyncpg://database:***@h/database"
        )
        assert found["settings/CELERY_RESULT_BACKEND"].detail.startswith("redis://:***@localhost:6379/0")
        assert texts.count("***") == texts.count(":***@")

    def test_no_secret_is_in_any_finding(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not as a setting, not inside an address, not when the user is the password."""
        for name, value in {
            "DEBUG": "False",
            "SECRET_KEY": "hunter2-key",
            "MAILCTL_SECRET_KEYS_OLD": "hunter2-old,hunter2-older",
            "REDIS_PASSWORD": "hunter2/a@b?c:d",
            "CELERY_RESULT_BACKEND": "redis://h/0?password=hunter2-query",
            "DATABASE_URL": "postgresql://app:hunter2@db.example.org/shop?sslpassword=hunter2",
            "MAILCTL_DATABASE_URL": "postgresql://app:hunter2@db.example.org/log",
            "EMAIL_ENABLED": "True",
            "EMAIL_HOST_USER": "hunter2-token",
            "EMAIL_HOST_PASSWORD": "hunter2-token",
            "FRONTEND_URL": "https://team:hunter2@staging.example.org",
        }.items():
            monkeypatch.setenv(name, value)
        assert not [finding for finding in check().values() if "hunter2" in repr(finding)]


class TestQuestions:
    def test_an_answer_that_is_late_is_not_waited_for(self) -> None:
        """Some drivers wait for longer than any option of theirs says."""
        is_over = threading.Event()
        with pytest.raises(ServiceUnavailable, match=r"The log did not answer within 0\.05 s\."):
            call_with_deadline(is_over.wait, service="The log", seconds=0.05)
        is_over.set()

    def test_what_a_question_raises_comes_through(self) -> None:
        """Its text says more than ours could."""
        with pytest.raises(ZeroDivisionError):
            call_with_deadline(lambda: 1 // 0, service="The log")


class TestSettings:
    def test_the_profile_is_named_and_what_chose_it(self, tmp_path: Path) -> None:
        """`DEBUG` is what people look for first."""
        assert check()["settings/profile"].detail == "development (DEBUG=True, from default)"
        (tmp_path / ".env").write_text("DEBUG=False\n")
        assert check()["settings/profile"].detail == "production (DEBUG=False, from .env)"

    def test_the_servers_of_both_profiles_are_shown(self) -> None:
        """Whichever of them is asked about."""
        found = check(Settings(redis_host="cache.example.org", redis_password=SecretStr("hunter2")))
        assert found["settings/development"].detail == "broker memory://, results cache+memory://"
        address = "redis://:***@cache.example.org:6379/0"
        assert found["settings/production"].detail == f"broker {address}, results {address}"

    def test_each_setting_says_where_it_came_from(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """Those that nobody set are not mentioned."""
        monkeypatch.setenv("EMAIL_HOST", "mail.example.org")
        (tmp_path / ".env").write_text("EMAIL_HOST=other.example.org\nSECRET_KEY=hunter2\n")
        found = check()
        assert found["settings/EMAIL_HOST"].detail == "mail.example.org (from environment)"
        assert found["settings/SECRET_KEY"].detail == "set (from .env)"
        assert "settings/EMAIL_PORT" not in found

    def test_a_misspelt_name_is_noticed(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """In the environment and in the file; mailctl's own names only, as the others are not ours."""
        monkeypatch.setenv("MAILCTL_TEMPLATE", "templates")
        monkeypatch.setenv("SOMETHING_ELSE", "1")
        (tmp_path / ".env").write_text("MAILCTL_QWERTY=1\n")
        found = check()
        assert found["settings/MAILCTL_TEMPLATE"].status is WARN
        assert found["settings/MAILCTL_TEMPLATE"].fix == "Did you mean MAILCTL_TEMPLATES?"
        assert ".env" in found["settings/MAILCTL_QWERTY"].detail
        assert "settings/SOMETHING_ELSE" not in found

    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("debug", "DEBUG"),
            ("Email_Host", "EMAIL_HOST"),
            ("REDIS_HOSTT", "REDIS_HOST"),
            ("EMAIL_HSOT", "EMAIL_HOST"),
            ("CELERY_BROKER", "CELERY_BROKER_URL"),
            ("MAILCTL_DATABSE_URL", "MAILCTL_DATABASE_URL"),
        ],
    )
    @pytest.mark.parametrize("place", ["the environment", ".env", "other.env"])
    def test_a_name_that_is_nearly_one_is_noticed(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str, name: str, meant: str
    ) -> None:
        """In another letter case or misspelt, whether it is in the environment or in a file."""
        if place == "the environment":
            monkeypatch.setenv(name, "x")
        else:
            (tmp_path / place).write_text(f"{name}=x\n")
        settings = Settings.load(tmp_path / place if place == "other.env" else None)
        [finding] = check_names(settings)
        assert (finding.name, finding.status) == (name, FindingStatus.WARN)
        assert place in finding.detail
        assert finding.fix == f"Did you mean {meant}?"

    def test_names_of_other_programs_are_no_mistake(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """In the environment, only those that begin like ours are looked at."""
        for name in ("DATABASE_URLS", "SECRET_KEYS", "EMAIL_USE_TLS", "REDIS_TLS", "SMTP_HOST"):
            monkeypatch.setenv(name, "x")
        (tmp_path / ".env").write_text("CORS_ORIGINS=x\nEMAIL_USE_TLS=x\nREDIS_CLUSTER=x\nDEBUG=True\n")
        assert list(check_names(Settings.load())) == []

    def test_tokens_in_the_environment_are_no_mistake(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """`mailctl send` reads them there."""
        names = ("MAILCTL_TOKEN", "MAILCTL_WHITELIST_TOKEN", "MAILCTL_BLACKLIST_TOKEN")
        for name in names:
            monkeypatch.setenv(name, "hunter2")
        assert not check().keys() & {f"settings/{name}" for name in names}

    @pytest.mark.parametrize(
        ("address", "shown"),
        [
            ("redis://h:6379/0", "redis://h:6379/0"),
            ("redis://:pw@h/0", "redis://:***@h/0"),
            ("redis://:@h/0", "redis://h/0"),
            ("redis://user@h/0", "redis://user@h/0"),
            ("redis://user:@h/0", "redis://user@h/0"),
            ("redis://user:p@w/o?r:d@h/0", "redis://user:***@h/0"),
            ("amqp://u:pw@a;amqp://u:pw@b", "amqp://u:***@b"),
            ("redis://h/0?password=pw&db=1", "redis://h/0?password=***&db=1"),
            ("redis://h/0?password=p@w", "redis://***@w"),
            ("sentinel://a:1;sentinel://b:2", "sentinel://a:1;sentinel://b:2"),
            ("plain\nwords\x1b[31m", "plain words [31m"),
        ],
    )
    def test_addresses_are_shown_without_their_passwords(self, address: str, shown: str) -> None:
        """Whatever characters a password has, rather too much is hidden than too little."""
        assert mask_url(address) == shown


class TestApp:
    def test_our_own_app_has_the_five_tasks(self) -> None:
        """Made from the settings."""
        found = check()
        assert "mailctl.celery_app" in found["app/import"].detail
        assert found["app/tasks"].detail == "all 5 are registered"

    def test_a_task_of_the_services_own_wins(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """And is named, because somebody may wonder why ours does not run."""
        source = (
            "from celery import Celery\n"
            "app = Celery('shop', broker='redis://:hunter2@h/0', backend='redis://h/1',"
            " set_as_current=False)\n"
            "@app.task(name='send_welcome_email_task', lazy=False, shared=False)\n"
            "def greet(user_data):\n"
            "    pass\n"
        )
        module = write_module("shop_with_tasks", source, tmp_path, monkeypatch)
        found = check(Settings(mailctl_app=f"{module}:app"))
        assert found["app/import"].detail.startswith("shop_with_tasks:app")
        assert found["app/tasks"].status is OK
        wins = found["app/send_welcome_email_task"]
        assert (wins.status, wins.detail) == (OK, "send_welcome_email_task is the service's own and wins")
        assert found["app/broker"].detail.startswith("redis://:***@h/0")
        assert not found.keys() & {f"app/{name}" for name in TASK_NAMES - {"send_welcome_email_task"}}

    def test_an_app_without_results_or_json_is_noticed(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """The first is a matter of taste, the second stops every email."""
        source = (
            "from celery import Celery\n"
            "app = Celery('shop', broker='memory://', set_as_current=False)\n"
            "app.conf.accept_content = ['pickle']\n"
        )
        module = write_module("shop_without_json", source, tmp_path, monkeypatch)
        found = check(Settings(mailctl_app=f"{module}:app"))
        assert found["app/results"].status is WARN
        assert found["app/serializer"].status is FAIL

    def test_an_app_that_cannot_be_imported_fails_and_the_rest_is_checked(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """With the reason, but not with the password that the service's own code puts into it."""
        source = "raise ValueError('cannot parse redis://:hunter2-hunter2@h')\n"
        module = write_module("shop_broken", source, tmp_path, monkeypatch)
        found = check(Settings(mailctl_app=f"{module}:app", redis_password=SecretStr("hunter2-hunter2")))
        assert found["app/set-up"].status is FAIL
        assert "ValueError: cannot parse redis://:***@h" in found["app/set-up"].detail
        assert found["broker/broker"].status is SKIP
        assert found["templates/welcome"].status is OK


class TestLog:
    def test_a_log_that_is_not_there_is_made_later(self, tmp_path: Path) -> None:
        """Looking makes nothing."""
        finding = check()["log/database"]
        assert finding.status is OK
        assert finding.detail.endswith("does not exist yet: the first email or worker creates it")
        assert list(tmp_path.iterdir()) == []

    def test_in_production_a_missing_log_may_be_a_wrong_address(self, tmp_path: Path) -> None:
        """Logs nearby are named."""
        Runtime(Settings(mailctl_home=tmp_path / "shop" / ".mailctl")).close()
        finding = check(Settings(debug=False))["log/database"]
        assert (finding.status, "correct MAILCTL_HOME" in finding.fix) == (WARN, True)

    def test_a_place_where_nothing_can_be_made_fails(self, tmp_path: Path) -> None:
        """Before the first email finds out."""
        (tmp_path / "file").write_text("")
        finding = check(Settings(mailctl_home=tmp_path / "file" / "home"))["log/database"]
        assert finding.status is FAIL
        assert "MAILCTL_HOME" in finding.fix

    def test_a_log_that_is_there_is_counted(self) -> None:
        """Schema, emails and permissions."""
        settings = Settings()
        Runtime(settings).close()
        found = check(settings)
        assert found["log/database"].status is OK
        assert found["log/schema"].detail.endswith("is current")
        assert found["log/emails"].detail == "none yet"
        assert "log/permissions" not in found

    def test_a_log_of_another_version_fails(self, tmp_path: Path) -> None:
        """And is not touched."""
        settings = Settings()
        Runtime(settings).close()
        execute(tmp_path / ".mailctl" / "mailctl.db", "UPDATE mailctl_version SET version_num = '9999'")
        found = check(settings)
        assert found["log/schema"].status is FAIL
        assert "9999" in found["log/schema"].detail
        assert "log/emails" not in found

    def test_an_empty_file_gets_its_tables_later(self, tmp_path: Path) -> None:
        """Looking makes none."""
        (tmp_path / "log.db").touch(mode=0o600)
        settings = Settings(mailctl_database_url=SecretStr(f"sqlite:///{tmp_path}/log.db"))
        assert "creates it" in check(settings)["log/schema"].detail
        assert execute(tmp_path / "log.db", "SELECT name FROM sqlite_master") == []

    def test_a_file_that_is_no_database_fails(self, tmp_path: Path) -> None:
        """In the database's own words."""
        (tmp_path / "log.db").write_bytes(b"not a database, but long enough to be read as one" * 100)
        settings = Settings(mailctl_database_url=SecretStr(f"sqlite:///{tmp_path}/log.db"))
        finding = check(settings)["log/database"]
        assert finding.status is FAIL
        assert "not a database" in finding.detail

    def test_a_log_that_others_may_read_is_noticed(self, tmp_path: Path) -> None:
        """It holds everybody's address."""
        settings = Settings()
        Runtime(settings).close()
        database = tmp_path / ".mailctl" / "mailctl.db"
        database.chmod(0o644)
        finding = check(settings)["log/permissions"]
        assert finding.status is WARN
        # SQLite gives the files beside it the same mode.
        assert finding.fix.startswith(f"chmod 600 {database}")

    def test_a_home_that_others_may_read_is_noticed(self, tmp_path: Path) -> None:
        """Captured emails are kept there."""
        (tmp_path / ".mailctl").mkdir(mode=0o755)
        (tmp_path / ".mailctl").chmod(0o755)
        (tmp_path / "log.db").touch(mode=0o600)
        settings = Settings(mailctl_database_url=SecretStr(f"sqlite:///{tmp_path}/log.db"))
        assert check(settings)["log/permissions"].fix == f"chmod 700 {tmp_path / '.mailctl'}"


class TestUsers:
    def test_development_has_its_demo_users(self) -> None:
        """They come with the delivery log."""
        assert check()["users/directory"].status is SKIP
        Runtime(Settings()).close()
        assert check()["users/directory"].detail.endswith("3 users")

    def test_production_without_the_services_database_is_noticed(self) -> None:
        """Nobody would be found."""
        assert check(production())["users/DATABASE_URL"].status is WARN

    def test_the_services_users_are_found(self, tmp_path: Path) -> None:
        """By their table."""
        execute(
            tmp_path / "shop.db", "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, username TEXT)"
        )
        found = check(production(database_url=SecretStr(f"sqlite+aiosqlite:///{tmp_path}/shop.db")))
        assert found["users/directory"].status is OK
        assert "table users" in found["users/directory"].detail

    def test_a_missing_database_fails(self, tmp_path: Path) -> None:
        """And is not made."""
        found = check(production(database_url=SecretStr(f"sqlite:///{tmp_path}/shop.db")))
        assert found["users/directory"].status is FAIL
        assert not (tmp_path / "shop.db").exists()


class TestTemplates:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """A folder of the service's own templates, with one that works."""
        folder = tmp_path / "templates"
        folder.mkdir()
        for ending in ("html", "txt"):
            (folder / f"invoice.{ending}").write_text("{{ amount }}")
        return folder

    def test_each_kind_makes_an_email(self) -> None:
        """From sample data, as it would go out."""
        found = check()
        names = {kind.template or "message" for kind in BUILT_IN_KINDS.values()}
        assert [found[f"templates/{name}"].status for name in names] == [OK] * len(BUILT_IN_KINDS)

    def test_templates_of_the_services_own_are_compiled(self, folder: Path) -> None:
        """What they will be given is not known here."""
        found = check(Settings(mailctl_templates=folder))
        assert found["templates/MAILCTL_TEMPLATES"].status is OK
        assert found["templates/invoice"].detail == "compiles; its variables: amount"

    def test_a_broken_template_is_named_with_its_line(self, folder: Path) -> None:
        """And the others are checked all the same."""
        (folder / "invoice.html").write_text("<p>\n{% if %}")
        (folder / "welcome.html").write_text("{{ no_such_variable }}")
        (folder / "welcome.txt").write_text("Hello")
        found = check(Settings(mailctl_templates=folder))
        assert found["templates/invoice"].status is FAIL
        assert found["templates/invoice"].detail.startswith("invoice.html, line 2")
        assert found["templates/welcome"].status is FAIL
        assert "no_such_variable" in found["templates/welcome"].detail
        assert found["templates/reset"].status is OK

    def test_a_folder_that_is_missing_fails(self, tmp_path: Path) -> None:
        """The name of the setting is in the text."""
        finding = check(Settings(mailctl_templates=tmp_path / "none"))["templates/set-up"]
        assert finding.status is FAIL
        assert "MAILCTL_TEMPLATES" in finding.detail

    def test_a_sender_that_is_no_address_fails(self) -> None:
        """Every email would be refused."""
        finding = check(Settings(email_from_address="nobody"))["templates/set-up"]
        assert finding.status is FAIL
        assert "EMAIL_FROM_ADDRESS" in finding.detail

    def test_links_that_lead_nowhere_fail(self) -> None:
        """FRONTEND_URL is their beginning."""
        assert check(Settings(frontend_url="app.example.org"))["templates/links"].status is FAIL

    @pytest.mark.parametrize(
        ("source", "status"),
        [
            ("def mint(claims): return claims.token\n", OK),
            ("mint = 7\n", FAIL),
            ("def mint(claims): raise KeyError(claims.email)\n", FAIL),
            ("raise RuntimeError('no database')\n", FAIL),
        ],
    )
    def test_a_maker_of_links_is_tried(
        self, source: str, status: FindingStatus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """Whatever it does, the templates are checked without it."""
        module = write_module("shop_links", source, tmp_path, monkeypatch)
        found = check(Settings(mailctl_link_mint=f"{module}:mint"))
        assert found["templates/MAILCTL_LINK_MINT"].status is status
        assert found["templates/reset"].status is OK


class TestSmtp:
    def test_in_development_emails_are_captured(self, tmp_path: Path) -> None:
        """That is no fault, and the folder is named."""
        finding = check()["smtp/connect"]
        assert finding.status is SKIP
        assert f"captured to {tmp_path / '.mailctl' / 'mail'}" in finding.detail

    def test_in_production_capturing_is_noticed(self) -> None:
        """Somebody waits for these emails."""
        found = check(production(email_enabled=False))
        assert found["smtp/connect"].status is WARN
        assert found["hazards/EMAIL_ENABLED"].status is WARN

    def test_the_test_message_is_captured_too(self, tmp_path: Path) -> None:
        """As every other email."""
        finding = check(send_test="ada@example.com")["smtp/send-test"]
        [path] = (tmp_path / ".mailctl" / "mail").iterdir()
        assert (finding.status, finding.detail) == (OK, f"captured in {path}")
        assert b"\r\nSubject: mailctl test message\r\n" in path.read_bytes()

    def test_the_test_message_needs_an_address(self) -> None:
        """One that every other command would take too."""
        finding = check(send_test="ada@example.com\nBcc: eve@example.com")["smtp/send-test"]
        assert finding.status is FAIL

    def test_offline_no_test_message_is_sent(self) -> None:
        """Offline is offline."""
        assert check(production(), send_test="ada@example.com")["smtp/send-test"].detail == "offline"

    def test_a_folder_that_cannot_be_written_fails(self, tmp_path: Path) -> None:
        """With the system's reason."""
        (tmp_path / ".mailctl").mkdir(mode=0o700)
        (tmp_path / ".mailctl" / "mail").write_text("")
        finding = check(send_test="ada@example.com")["smtp/send-test"]
        assert finding.status is FAIL
        assert "MAILCTL_HOME" in finding.fix


class TestWorkers:
    def test_nobody_works_yet(self) -> None:
        """The command that changes it is the fix."""
        finding = check()["workers/alive"]
        assert (finding.status, finding.fix) == (WARN, "Start one: mailctl worker")

    def test_a_worker_of_the_log_is_named_with_its_queues(self) -> None:
        """And its queue is served."""
        beat(queues=("celery",))
        found = check()
        assert found["workers/alive"].detail == "1: celery@here on celery"
        assert found["workers/queue celery"].status is OK

    def test_a_queue_that_nobody_consumes_is_noticed(self) -> None:
        """A worker elsewhere does not help."""
        beat(queues=("reports",))
        finding = check()["workers/queue celery"]
        assert finding.status is WARN
        assert finding.fix == "Start one: mailctl worker -Q celery"

    def test_the_queues_are_those_of_the_apps_routes(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """A service may send its emails to a queue of their own."""
        source = (
            "from celery import Celery\n"
            "app = Celery('shop', broker='memory://', set_as_current=False)\n"
            "app.conf.task_routes = {'send_welcome_email_task': {'queue': 'greetings'}}\n"
        )
        module = write_module("shop_with_routes", source, tmp_path, monkeypatch)
        beat(queues=("celery",))
        found = check(Settings(mailctl_app=f"{module}:app"))
        assert found["workers/queue greetings"].status is WARN
        assert found["workers/queue celery"].status is OK


class TestHazards:
    def test_sound_settings_have_none(self, tmp_path: Path) -> None:
        """Which is said."""
        found = check(production())
        assert [key for key in found if key.startswith("hazards/")] == ["hazards/none"]

    @pytest.mark.parametrize(
        ("changes", "name", "status"),
        [
            ({"celery_broker_url": SecretStr("memory://")}, "memory broker", FAIL),
            ({"celery_queue_default": "celery"}, "CELERY_QUEUE_DEFAULT", WARN),
            ({"secret_key": Settings().secret_key}, "SECRET_KEY", FAIL),
            ({"secret_key": SecretStr("short")}, "SECRET_KEY", FAIL),
            ({"mailctl_secret_keys_old": Settings().secret_key}, "MAILCTL_SECRET_KEYS_OLD", FAIL),
            ({"email_from_address": Settings().email_from_address}, "EMAIL_FROM_ADDRESS", FAIL),
            ({"project_name": Settings().project_name}, "PROJECT_NAME", FAIL),
            ({"frontend_url": "http://app.example.org"}, "FRONTEND_URL", FAIL),
            ({"frontend_url": "http://localhost:3000"}, "FRONTEND_URL", FAIL),
            ({"frontend_url": "http://localhost:3000", "email_enabled": False}, "FRONTEND_URL", WARN),
            ({"email_tls": "none"}, "EMAIL_TLS", WARN),
            ({"email_tls": "none", "email_host_user": "app"}, "credentials", FAIL),
        ],
    )
    def test_each_is_found_in_production(
        self, changes: dict[str, Any], name: str, status: FindingStatus
    ) -> None:
        """And no other with it, but for what follows from it."""
        assert check(production(**changes))[f"hazards/{name}"].status is status

    @pytest.mark.parametrize("url", ["http://[", "https://h:port", "http://", "x" * 5000])
    def test_a_frontend_url_that_is_none_fails_once(self, url: str) -> None:
        """The check of links says it; no other stumbles over it."""
        assert check(production(frontend_url=url))["templates/links"].status is FAIL

    @pytest.mark.parametrize(
        "domain",
        [
            "example.com",
            "mail.example.org",
            "example.net",
            "shop.example",
            "a.invalid",
            "b.test",
            "localhost",
        ],
    )
    def test_nobody_sends_from_a_domain_of_examples(self, domain: str) -> None:
        """Mail servers refuse what comes from there."""
        finding = check(production(email_from_address=f"noreply@{domain}"))["hazards/EMAIL_FROM_ADDRESS"]
        assert (finding.status, bool(finding.fix)) == (FAIL, True)

    @pytest.mark.parametrize("domain", ["example.com.au", "myexample.com", "testing.org", "shop.internal"])
    def test_other_domains_only_look_like_it(self, domain: str) -> None:
        """The whole name counts."""
        assert "hazards/none" in check(production(email_from_address=f"noreply@{domain}"))

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "mail.localhost"])
    def test_mail_to_this_host_needs_no_encryption(self, host: str) -> None:
        """Nobody else can read it."""
        assert "hazards/none" in check(production(email_tls="none", email_host=host))

    def test_development_may_do_all_this(self) -> None:
        """Except sending credentials in clear, which no profile does."""
        assert "hazards/none" in check(Settings(email_tls="none", email_host="mail.example.org"))
        clear = Settings(email_tls="none", email_host_user="app")
        assert check(clear)["hazards/credentials"].status is FAIL

    def test_an_env_file_that_others_may_read_is_noticed(self, tmp_path: Path) -> None:
        """If there are secrets in it."""
        path = tmp_path / ".env"
        path.write_text("DEBUG=False\nEMAIL_HOST_PASSWORD=hunter2\n")
        path.chmod(0o644)
        finding = check()["hazards/.env"]
        assert (finding.status, finding.fix) == (WARN, "chmod o-r .env")
        assert "EMAIL_HOST_PASSWORD" in finding.detail
        path.chmod(0o600)
        assert "hazards/.env" not in check()

    def test_a_file_as_log_for_workers_of_two_hosts_is_noticed(self) -> None:
        """SQLite's locks do not work over a network."""
        beat(host="elsewhere", queues=("celery",))
        finding = check()["hazards/SQLite log"]
        assert finding.status is WARN
        assert "elsewhere" in finding.detail


def beat(*, queues: tuple[str, ...], host: str = "here.example.org") -> None:
    """Let a worker on some host say that it is alive."""
    now = datetime.now(UTC)
    runtime = Runtime(Settings())
    runtime.workers.record_heartbeat(
        Worker(
            id="w1",
            name="celery@here",
            host=host,
            pid=1,
            pool="threads",
            concurrency=4,
            queues=queues,
            started_at=now,
            seen_at=now,
        )
    )
    runtime.close()


def execute(path: Path, statement: str) -> list[Any]:
    """Run a statement on a SQLite file; return what it gives."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()
