"""Running commands in this process, in a folder where nothing is set up; deliveries; databases."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

import pytest

from mailctl import runtime
from mailctl.cli.main import main
from mailctl.delivery_log.storage.engine import open_engine
from mailctl.delivery_log.storage.schema_version import ensure_current
from mailctl.delivery_log.storage.urls import parse_url
from mailctl.settings import Settings
from tests.integration.commands import Ran
from tests.smtp_server import ScriptedSmtpServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import sqlalchemy

    from tests.integration.commands import Mailctl
    from tests.integration.delivering import Post

    MakePost = Callable[..., Post]

    Run = Callable[..., tuple[int, str]]


@pytest.fixture
def mailctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mailctl:
    """Runs a command in an empty folder, with or without something on standard input.

    What a command has opened is closed after it, unless `keeps_open` is true.
    """
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    monkeypatch.chdir(tmp_path)

    def run_command(*arguments: str, stdin: str = "", keeps_open: bool = False) -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        try:
            code = main(arguments)
        finally:
            if not keeps_open:
                runtime.close()
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return run_command


@pytest.fixture
def run(mailctl: Mailctl) -> Run:
    """Runs a command in an empty folder; returns its exit code and its output."""

    def run_command(*arguments: str) -> tuple[int, str]:
        ran = mailctl(*arguments)
        return ran.code, ran.out

    return run_command


@pytest.fixture
def smtp() -> Iterator[ScriptedSmtpServer]:
    """A mail server that takes everything unless a test says otherwise."""
    with ScriptedSmtpServer() as server:
        yield server


@pytest.fixture
def make_post(tmp_path: Path, smtp: ScriptedSmtpServer) -> Iterator[MakePost]:
    """Makes deliveries with settings of the test's."""
    from tests.integration.delivering import Post

    made: list[Post] = []

    def make(**settings: object) -> Post:
        made.append(Post(tmp_path, smtp, **settings))
        return made[-1]

    yield make
    for post in made:
        post.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def service_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database that a service could use."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    path = tmp_path / "app.db"
    path.touch()
    return f"sqlite:///{path}"


@pytest.fixture
def engine(service_url: str) -> Iterator[sqlalchemy.Engine]:
    """A delivery log on each kind of database."""
    engine = open_engine(parse_url(service_url, setting="X"), setting="X")
    ensure_current(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Change into an empty folder, with an environment without settings."""
    for name in {field.upper() for field in Settings.model_fields} & os.environ.keys():
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
