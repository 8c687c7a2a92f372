"""Secrets in files, as Docker and Kubernetes mount them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.errors import ConfigurationError
from mailctl.settings import Settings
from mailctl.settings.secret_files import secret_settings

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import SecretStr


def test_every_secret_may_be_in_a_file() -> None:
    """Passwords, keys, and URLs that hold passwords."""
    names = secret_settings()
    assert {"SECRET_KEY", "EMAIL_HOST_PASSWORD", "REDIS_PASSWORD", "DATABASE_URL", "CELERY_BROKER_URL"} <= {
        *names
    }
    assert not {"EMAIL_HOST", "PROJECT_NAME"} & {*names}


@pytest.mark.parametrize("content", ["s3cret", "s3cret\n", "s3cret\r\n", "\ufeffs3cret"])
@pytest.mark.parametrize("place", ["environment", "file"])
def test_the_content_of_the_file_is_the_value(
    content: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the line feed at its end and a byte order mark; the source is the file."""
    path, env_file = tmp_path / "password", tmp_path / ".env"
    path.write_bytes(content.encode())
    env_file.write_text(f"EMAIL_HOST_PASSWORD_FILE={path}\n" if place == "file" else "")
    if place == "environment":
        monkeypatch.setenv("EMAIL_HOST_PASSWORD_FILE", str(path))
    settings = Settings.load(env_file)
    password: SecretStr = settings.email_host_password
    assert password.get_secret_value() == "s3cret"
    assert settings.source_of("EMAIL_HOST_PASSWORD") == str(path)


def test_an_empty_variable_does_not_hide_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of containers often pass every variable on, set or not."""
    path = tmp_path / "password"
    path.write_text("s3cret")
    monkeypatch.setenv("EMAIL_HOST_PASSWORD", "")
    monkeypatch.setenv("EMAIL_HOST_PASSWORD_FILE", str(path))
    assert Settings.load().email_host_password.get_secret_value() == "s3cret"


def test_a_secret_that_is_given_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two may differ, and nobody would see which one is used."""
    monkeypatch.setenv("EMAIL_HOST_PASSWORD", "one")
    monkeypatch.setenv("EMAIL_HOST_PASSWORD_FILE", str(tmp_path / "password"))
    with pytest.raises(ConfigurationError, match="are both set"):
        Settings.load()


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe", b"x" * 70_000])
def test_a_file_that_holds_no_secret_is_refused_without_its_content(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence that names the file."""
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("EMAIL_HOST_PASSWORD_FILE", str(path))
    with pytest.raises(ConfigurationError, match="EMAIL_HOST_PASSWORD_FILE") as raised:
        Settings.load()
    assert "xxx" not in str(raised.value)
