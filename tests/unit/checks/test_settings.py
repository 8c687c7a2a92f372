"""Checks of the settings: profile, values with their sources, misspelt names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from mailctl.checks.settings import check_names, check_settings, env_files, secret_names
from mailctl.settings import Settings
from tests.unit.checks.samples import WARN, by_name

if TYPE_CHECKING:
    from pathlib import Path

    from mailctl.checks.finding import Finding


def check(settings: Settings | None = None) -> dict[str, Finding]:
    """Return the findings by their names."""
    return by_name(check_settings(settings or Settings.load()))


def test_the_profile_is_named_with_its_source(tmp_path: Path) -> None:
    """`DEBUG` is what people look for first."""
    assert check()["profile"].detail == "development (DEBUG=True, from default)"
    (tmp_path / ".env").write_text("DEBUG=False\n")
    assert check()["profile"].detail == "production (DEBUG=False, from .env)"


def test_a_requested_profile_has_no_source() -> None:
    """As with --profile."""
    assert check(Settings(debug=False))["profile"].detail == "production (DEBUG=False, as requested)"


def test_the_servers_of_both_profiles_are_shown() -> None:
    """Whichever of them is in force."""
    found = check(Settings(redis_host="cache.example.org", redis_password=SecretStr("hunter2")))
    assert found["development"].detail == "broker memory://, results cache+memory://"
    address = "redis://:***@cache.example.org:6379/0"
    assert found["production"].detail == f"broker {address}, results {address}"


def test_each_setting_is_shown_with_its_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Defaults are not mentioned, and secrets are not shown."""
    monkeypatch.setenv("EMAIL_HOST", "mail.example.org")
    (tmp_path / ".env").write_text("EMAIL_HOST=other.example.org\nSECRET_KEY=hunter2\n")
    found = check()
    assert found["EMAIL_HOST"].detail == "mail.example.org (from environment)"
    assert found["SECRET_KEY"].detail == "set (from .env)"
    assert "EMAIL_PORT" not in found


def test_the_secrets_of_a_file_are_named(tmp_path: Path) -> None:
    """Only those with a value; a missing file has none."""
    assert env_files(Settings.load()) == []
    (tmp_path / ".env").write_text(
        "SECRET_KEY=hunter2\nREDIS_PASSWORD=\nEMAIL_HOST=h\nMAILCTL_SERVER_BACKUP_PASSWORD=hunter2\n"
    )
    settings = Settings.load()
    [path] = env_files(settings)
    assert secret_names(settings, str(path)) == ["SECRET_KEY", "MAILCTL_SERVER_BACKUP_PASSWORD"]


def test_a_misspelt_name_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the environment and in the file; only mailctl's own prefix, as other names belong to others."""
    monkeypatch.setenv("MAILCTL_TEMPLATE", "templates")
    monkeypatch.setenv("SOMETHING_ELSE", "1")
    (tmp_path / ".env").write_text("MAILCTL_QWERTY=1\n")
    found = check()
    assert found["MAILCTL_TEMPLATE"].status is WARN
    assert found["MAILCTL_TEMPLATE"].fix == "Did you mean MAILCTL_TEMPLATES?"
    assert ".env" in found["MAILCTL_QWERTY"].detail
    assert "SOMETHING_ELSE" not in found


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("debug", "DEBUG"),
        ("Email_Host", "EMAIL_HOST"),
        ("REDIS_HOSTT", "REDIS_HOST"),
        ("EMAIL_HOST_PASSWORT_FILE", "EMAIL_HOST_PASSWORD_FILE"),
        ("EMAIL_HSOT", "EMAIL_HOST"),
        ("CELERY_BROKER", "CELERY_BROKER_URL"),
        ("MAILCTL_DATABSE_URL", "MAILCTL_DATABASE_URL"),
    ],
)
@pytest.mark.parametrize("place", ["the environment", ".env", "other.env"])
def test_a_similar_name_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str, name: str, meant: str
) -> None:
    """In another letter case or misspelt, in the environment or in a file."""
    if place == "the environment":
        monkeypatch.setenv(name, "x")
    else:
        (tmp_path / place).write_text(f"{name}=x\n")
    settings = Settings.load(tmp_path / place if place == "other.env" else None)
    [finding] = check_names(settings)
    assert (finding.name, finding.status) == (name, WARN)
    assert place in finding.detail
    assert finding.fix == f"Did you mean {meant}?"


def test_names_of_other_programs_are_no_mistake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Similarity alone does not count."""
    for name in ("DATABASE_URLS", "SECRET_KEYS", "EMAIL_USE_TLS", "REDIS_TLS", "SMTP_HOST"):
        monkeypatch.setenv(name, "x")
    (tmp_path / ".env").write_text("CORS_ORIGINS=x\nEMAIL_USE_TLS=x\nREDIS_CLUSTER=x\nDEBUG=True\n")
    assert list(check_names(Settings.load())) == []


def test_tokens_in_the_environment_are_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """`mailctl send` reads them there."""
    names = ("MAILCTL_TOKEN", "MAILCTL_WHITELIST_TOKEN", "MAILCTL_BLACKLIST_TOKEN")
    for name in names:
        monkeypatch.setenv(name, "hunter2")
    assert not check().keys() & set(names)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("secret\n", "white space or a line feed"),
        (" secret", "white space or a line feed"),
        ('"secret"', "quotes around it"),
        ("'secret'", "quotes around it"),
        ("se'cret'", ""),
    ],
)
def test_a_secret_with_quotes_or_a_line_feed_around_it_is_hinted_at(
    value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files and tools leave them there; the value itself is not shown."""
    monkeypatch.setenv("EMAIL_HOST_PASSWORD", value)
    found = by_name(check_settings(Settings.load())).get("EMAIL_HOST_PASSWORD value")
    assert (found is not None) == bool(words)
    assert found is None or (words in found.detail and "secret" not in found.detail)
