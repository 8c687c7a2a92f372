"""What short commands import: each heavy package costs more than the command itself."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.workers import kept_alive, worker

if TYPE_CHECKING:
    from pathlib import Path

#: What publishes.
PUBLISHING = frozenset({"celery", "kombu", "redis"})
HEAVY = frozenset(
    {
        "aiosmtplib",
        "alembic",
        "celery",
        "cryptography",
        "fastapi_mail",
        "jinja2",
        "kombu",
        "pydantic",
        "redis",
        "sqlalchemy",
    }
)


def imported(folder: Path, *arguments: str) -> frozenset[str]:
    """Return the packages that a command imports."""
    return frozenset(name.partition(".")[0] for name in imported_modules(folder, *arguments))


def imported_modules(folder: Path, *arguments: str) -> frozenset[str]:
    """Return the modules that a command imports, as Python itself reports them."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mailctl", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert lines, done
    return frozenset(line.rpartition("|")[2].strip() for line in lines)


def test_a_list_needs_no_diagnosis(tmp_path: Path) -> None:
    """Its rules are for `status` and `why`."""
    send = [sys.executable, "-m", "mailctl", "send", "welcome", "--user-id", "1"]
    subprocess.run(send, cwd=tmp_path, capture_output=True, check=True)
    assert "mailctl.diagnosis.rules" not in imported_modules(tmp_path, "list")


def test_help_imports_typer_and_nothing_else_that_is_heavy(tmp_path: Path) -> None:
    """It has to be there at once."""
    packages = imported(tmp_path, "--help")
    assert "typer" in packages
    assert not packages & (HEAVY | {"rich"})


@pytest.mark.parametrize("command", ["status", "list"])
def test_a_look_at_the_log_needs_the_log_only(tmp_path: Path, command: str) -> None:
    """Neither what sends or encrypts nor, on a memory broker, what publishes."""
    send = [sys.executable, "-m", "mailctl", "send", "welcome", "--user-id", "1", "--json"]
    sent = subprocess.run(send, cwd=tmp_path, capture_output=True, text=True, check=True)
    arguments = [command, json.loads(sent.stdout)["task_id"]] if command == "status" else [command]
    heavy = imported(tmp_path, *arguments) & HEAVY
    assert heavy <= {"pydantic", "sqlalchemy"}


def test_sending_needs_nothing_that_publishes_while_a_worker_does(tmp_path: Path) -> None:
    """The email is in the log, from where the relay of the worker takes it; without one, `send` publishes."""
    (tmp_path / ".env").write_text("CELERY_BROKER_URL=redis://127.0.0.1:1/0\n")
    send = ("send", "welcome", "--email", "zoe@example.com")
    with closing(Runtime(Settings(mailctl_home=tmp_path / ".mailctl"))) as runtime:
        with kept_alive(runtime.workers, worker(runtime.clock(), publishes_at_once=True)):
            assert not imported(tmp_path, *send) & PUBLISHING
        assert imported(tmp_path, *send) >= PUBLISHING
        states = runtime.history.count_by_state()
    assert states == {"pending": 2}
