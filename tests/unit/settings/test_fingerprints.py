"""Fingerprints of settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.settings import Settings
from mailctl.settings.fingerprints import OTHER_TEMPLATES, fingerprint_settings, fingerprint_templates

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "a-secret-that-nobody-must-see-anywhere"


def test_defaults_have_no_fingerprint() -> None:
    """Heartbeats stay small."""
    assert fingerprint_settings(Settings()) == {}


def test_equal_values_have_equal_fingerprints() -> None:
    """And others have others."""
    one, same, other = (
        fingerprint_settings(Settings(email_from_name=name)) for name in ("Shop", "Shop", "Test")
    )
    assert one == same
    assert one.keys() == other.keys() == {"EMAIL_FROM_NAME"}
    assert one != other


def test_secrets_and_what_is_each_ones_own_are_left_out() -> None:
    """The hash of a weak password could be guessed."""
    settings = Settings(
        secret_key=SECRET,
        email_host_password=SECRET,
        redis_password=SECRET,
        celery_broker_url=f"redis://:{SECRET}@redis/0",
        mailctl_home="/srv/a",
        email_helo_name="a.example",
    )
    assert fingerprint_settings(settings) == {}


def test_templates_have_fingerprints_by_their_files(tmp_path: Path) -> None:
    """Other files are none; a folder that does not exist has none."""
    (tmp_path / "mail").mkdir()
    for name, text in {"mail/reset.html": "a", "reset.txt": "a", "base.html": "b", "logo.png": "c"}.items():
        (tmp_path / name).write_text(text)
    found = fingerprint_templates(tmp_path)
    assert list(found) == ["base.html", "mail/reset.html", "reset.txt"]
    assert found["mail/reset.html"] == found["reset.txt"] != found["base.html"]
    assert fingerprint_templates(tmp_path / "nosuch") == fingerprint_templates(None) == {}


def test_very_many_templates_are_told_apart_in_little_space(tmp_path: Path) -> None:
    """Each heartbeat has the fingerprints."""
    for number in range(300):
        (tmp_path / f"{number:03}.html").write_text("text")
    before = fingerprint_templates(tmp_path)
    (tmp_path / "299.html").write_text("changed")
    after = fingerprint_templates(tmp_path)
    assert len(before) == 101
    assert {name for name in before if before[name] != after[name]} == {OTHER_TEMPLATES}
