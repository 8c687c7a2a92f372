"""A `.env` that another user could have written loads no code and no file, unless somebody names it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from typing import TYPE_CHECKING

import pytest

from mailctl import EmailService, runtime
from mailctl.errors import ConfigurationError, ExitCode
from mailctl.settings.env_file import CODE_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.commands import Mailctl

NOBODY = 65534


def by_nobody(folder: Path) -> None:
    """The folder and the file belong to another user."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    os.chown(folder, NOBODY, NOBODY)
    os.chown(folder / ".env", NOBODY, NOBODY)


def file_of_nobody(folder: Path) -> None:
    """Another user has put a file into a folder of ours."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    os.chown(folder / ".env", NOBODY, NOBODY)


def writable_folder(folder: Path) -> None:
    """Everybody can put files there."""
    folder.chmod(0o777)


def writable_file(folder: Path) -> None:
    """Everybody can change it."""
    (folder / ".env").chmod(0o666)


def group_of_others(folder: Path) -> None:
    """A group of others can change it."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    os.chown(folder / ".env", 0, NOBODY)
    (folder / ".env").chmod(0o660)


STRANGERS = [by_nobody, file_of_nobody, writable_folder, writable_file, group_of_others]


@pytest.fixture
def trap(tmp_path: Path, mailctl: Mailctl) -> Iterator[Path]:
    """A folder with a module that leaves a mark when it is imported; yields the mark."""
    mark = tmp_path / "imported"
    name = module_of(mark)
    (tmp_path / f"{name}.py").write_text(f"open({str(mark)!r}, 'w').close()\nKINDS = []\n")
    (tmp_path / ".env").write_text(f"MAILCTL_CATALOG={name}\nPROJECT_NAME=Shop\n")
    yield mark
    sys.modules.pop(name, None)
    sys.path[:] = [place for place in sys.path if place != str(tmp_path)]


def module_of(mark: Path) -> str:
    """Return the name of the module, which no other test has."""
    return "trap_" + hashlib.sha256(str(mark).encode()).hexdigest()[:16]


@pytest.mark.parametrize("make_foreign", STRANGERS)
@pytest.mark.parametrize("command", ["check-config --offline", "list", "preview welcome", "worker --drain"])
def test_nothing_is_imported(
    mailctl: Mailctl, tmp_path: Path, trap: Path, make_foreign: Callable[[Path], None], command: str
) -> None:
    """By no command; the error says how to allow it."""
    make_foreign(tmp_path)
    ran = mailctl(*command.split())
    assert (ran.code, ran.err.count("\n")) == (ExitCode.USAGE, 1), ran.err
    assert "MAILCTL_CATALOG" in ran.err
    assert "--env-file .env" in ran.err
    assert not trap.exists()


@pytest.mark.parametrize(
    "line",
    [
        "EMAIL_HOST_PASSWORD_FILE=id_rsa",
        "MAILCTL_SERVER_A_PASSWORD_FILE=id_rsa",
        "REDIS_PASSWORD_FILE=id_rsa",
        "EMAIL_OAUTH_TOKEN_COMMAND_FILE=command",
        "CELERY_RESULT_BACKEND=evil.backends:Backend",
        "CELERY_RESULT_BACKEND=evil.backends.Backend",
    ],
)
def test_neither_files_nor_classes_are_loaded(mailctl: Mailctl, tmp_path: Path, line: str) -> None:
    """A password goes to a mail server that the file names, too: any file of the operator would."""
    (tmp_path / "id_rsa").write_text("a key of the operator")
    (tmp_path / ".env").write_text(f"EMAIL_HOST=mail.evil.example\n{line}\n")
    writable_folder(tmp_path)
    ran = mailctl("check-config", "--offline")
    assert (ran.code, ran.err.count("\n")) == (ExitCode.USAGE, 1), ran.err
    assert f"sets {line.partition('=')[0]}, which loads code or reads a file, and every user" in ran.err


def test_the_environment_replaces_a_file_of_strangers(
    mailctl: Mailctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not in effect harms nobody."""
    (tmp_path / ".env").write_text("EMAIL_HOST_PASSWORD_FILE=/etc/shadow\nCELERY_RESULT_BACKEND=disabled\n")
    writable_folder(tmp_path)
    monkeypatch.setenv("EMAIL_HOST_PASSWORD", "a password")
    ran = mailctl("check-config", "--offline")
    assert "/etc/shadow" not in ran.out + ran.err


def test_the_service_is_protected_too(tmp_path: Path, trap: Path) -> None:
    """It reads the same file."""
    writable_folder(tmp_path)
    runtime.close()
    with pytest.raises(ConfigurationError, match="loads code"):
        asyncio.run(EmailService.prepare())
    assert not trap.exists()


def test_a_file_that_is_named_is_trusted(mailctl: Mailctl, tmp_path: Path, trap: Path) -> None:
    """Somebody has looked at it."""
    writable_folder(tmp_path)
    mailctl("check-config", "--offline", "--env-file", ".env")
    assert trap.exists()


def test_the_environment_is_trusted(
    mailctl: Mailctl, tmp_path: Path, trap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it sets is not what the file sets."""
    writable_folder(tmp_path)
    monkeypatch.setenv("MAILCTL_CATALOG", module_of(trap))
    mailctl("check-config", "--offline")
    assert trap.exists()


@pytest.mark.parametrize("make_foreign", [*STRANGERS, lambda folder: folder.chmod(0o700)])
def test_other_settings_are_read(
    mailctl: Mailctl, tmp_path: Path, make_foreign: Callable[[Path], None]
) -> None:
    """They load no code."""
    (tmp_path / ".env").write_text("PROJECT_NAME=Shop\nMAILCTL_CATALOG=\n")
    make_foreign(tmp_path)
    ran = mailctl("preview", "welcome", "--text")
    assert (ran.code, "Shop" in ran.out) == (ExitCode.DONE, True)


def test_a_file_of_ours_is_trusted(mailctl: Mailctl, trap: Path) -> None:
    """As before."""
    mailctl("check-config", "--offline")
    assert trap.exists()


def test_the_user_of_sudo_is_trusted(
    mailctl: Mailctl, tmp_path: Path, trap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root works for that user."""
    by_nobody(tmp_path)
    monkeypatch.setenv("SUDO_UID", str(NOBODY))
    mailctl("check-config", "--offline")
    assert trap.exists()


def test_every_setting_that_loads_code_is_known() -> None:
    """The modules that import what a setting names say which one it is."""
    assert {"MAILCTL_APP", "MAILCTL_CATALOG", "MAILCTL_TASKS", "MAILCTL_LINK_MINT"} <= CODE_SETTINGS
    assert {"MAILCTL_RESULT_OUTCOME", "MAILCTL_TEMPLATES"} <= CODE_SETTINGS
