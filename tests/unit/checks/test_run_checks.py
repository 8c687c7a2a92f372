"""All checks together, without asking anybody: they yield findings of every group, and no secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from mailctl.checks.finding import Finding, is_ok
from mailctl.checks.run_checks import run_checks
from mailctl.settings import Settings
from tests.unit.checks.samples import FAIL, OK, SKIP, WARN, production, write_module

if TYPE_CHECKING:
    from pathlib import Path


def check(settings: Settings | None = None) -> dict[str, Finding]:
    """Run all checks offline; return the findings by "group/name"."""
    findings = run_checks(settings or Settings.load(), offline=True)
    return {f"{finding.group}/{finding.name}": finding for finding in findings}


def test_a_fresh_place_is_sound(tmp_path: Path) -> None:
    """Without any setting everything works, and nothing was made by looking."""
    found = check()
    assert is_ok(found.values())
    assert {finding.group for finding in found.values()} == {
        *(
            "settings",
            "rules",
            "app",
            "broker",
            "log",
            "users",
            "links",
            "templates",
            "smtp",
            "workers",
            "hazards",
        )
    }
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_work_has_a_fix() -> None:
    """A finding without one only worries people."""
    found = check(Settings(debug=False, celery_broker_url=SecretStr("memory://"), mailctl_app="nothing:app"))
    troubles = [finding for finding in found.values() if finding.status in (FAIL, WARN)]
    assert len(troubles) > 4
    assert all(finding.fix for finding in troubles)
    assert not is_ok(troubles)


def test_a_warning_alone_is_not_a_failure() -> None:
    """Production begins before the first worker does."""
    found = check(production())
    assert found["workers/alive"].status is WARN
    assert is_ok(found.values())


def test_offline_asks_nobody() -> None:
    """What would have been asked says so."""
    found = check(production(database_url=SecretStr("postgresql://db.example.org/shop")))
    for name in ("broker/broker", "broker/results", "users/directory", "smtp/connect"):
        assert (found[name].status, found[name].detail) == (SKIP, "offline"), name


def test_findings_come_one_by_one() -> None:
    """A terminal shows the first ones while the others are still sought."""
    first = next(run_checks(Settings(), offline=True))
    assert (first.group, first.name) == ("settings", "profile")


def test_a_password_that_is_a_word_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert found["settings/DATABASE_URL"].detail.startswith("postgresql+asyncpg://database:***@h/database")
    assert found["settings/CELERY_RESULT_BACKEND"].detail.startswith("redis://:***@localhost:6379/0")
    assert texts.count("***") == texts.count(":***@")


def test_no_secret_is_in_any_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as a setting, not inside an address, not when the user is the password."""
    for name, value in {
        "DEBUG": "False",
        "SECRET_KEY": "hunter2-key",
        "MAILCTL_SECRET_KEYS_OLD": '["hunter2-old", "hunter2-older"]',
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


@pytest.mark.parametrize(
    ("source", "group"),
    [
        ({"mailctl_app": "no_such_module:app"}, "app"),
        ({"mailctl_templates": "no-such-folder"}, "templates"),
    ],
)
def test_an_error_that_ends_a_check_is_its_last_finding(source: dict[str, object], group: str) -> None:
    """The other groups are checked nevertheless."""
    found = check(Settings(**source))
    assert found[f"{group}/set-up"].status is FAIL
    assert found["hazards/none"].status is OK


def test_an_app_that_cannot_be_imported_leaves_the_rest_to_be_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without an app there is no broker to ask, but there are templates."""
    module = write_module("shop_broken", "raise ValueError('no')\n", tmp_path, monkeypatch)
    found = check(Settings(mailctl_app=f"{module}:app"))
    assert found["app/set-up"].status is FAIL
    assert found["broker/broker"].status is SKIP
    assert found["templates/welcome"].status is OK
