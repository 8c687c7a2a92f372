"""Settings as an operator may read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.settings import Settings
from mailctl.settings.description import describe_settings

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_every_setting_has_a_value_and_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets are masked, also within URLs."""
    file = tmp_path / "my.env"
    file.write_text("EMAIL_HOST=mail.example\nSECRET_KEY=a-secret-that-nobody-reads\nDATABASE_URL=\n")
    monkeypatch.setenv("REDIS_URL", "redis://:hidden@redis.example/0")
    found = {each.name: each for each in describe_settings(Settings.load(file))}
    assert (found["EMAIL_HOST"].value, found["EMAIL_HOST"].source) == ("mail.example", str(file))
    assert (found["SECRET_KEY"].value, found["SECRET_KEY"].source) == ("set", str(file))
    assert found["REDIS_URL"].source == "environment"
    assert "hidden" not in found["REDIS_URL"].value
    assert (found["EMAIL_PORT"].value, found["EMAIL_PORT"].is_default) == ("587", True)
    assert found["DATABASE_URL"].value == "empty"
    assert len(found) == len(Settings.model_fields)


def test_variables_of_mail_servers_come_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the password, and without a user name that is the same."""
    file = tmp_path / "my.env"
    file.write_text(
        "MAILCTL_SERVER_BACKUP_HOST=mx.example\n"
        "MAILCTL_SERVER_BACKUP_PASSWORD=hidden\nMAILCTL_SERVER_BACKUP_USER=hidden\n"
        "MAILCTL_SERVER_BULK_PASSWORD=old\nMAILCTL_SERVER_BULK_PORT=\n"
    )
    monkeypatch.setenv("MAILCTL_SERVER_BULK_PASSWORD_FILE", "/run/secrets/bulk")
    found = describe_settings(Settings.load(file))[len(Settings.model_fields) :]
    assert [(each.name.removeprefix("MAILCTL_SERVER_"), each.value, each.source) for each in found] == [
        ("BACKUP_HOST", "mx.example", str(file)),
        ("BACKUP_USER", "set", str(file)),
        ("BACKUP_PASSWORD", "set", str(file)),
        ("BULK_PASSWORD_FILE", "/run/secrets/bulk", "environment"),
    ]
