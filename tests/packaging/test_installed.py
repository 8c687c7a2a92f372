"""The package as people install it: bare, and with each extra alone; nothing of the dev extra is there."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from docs.generators.man_pages import man_pages
from tests.acceptance.blocks import DOCUMENTS, Language, blocks_of
from tests.acceptance.terminal import Terminal
from tests.packaging.environments import ROOT
from tests.servers import free_port

if TYPE_CHECKING:
    from tests.packaging.environments import Package
    from tests.servers import RedisServer

pytestmark = pytest.mark.packaging
Install = Callable[..., Terminal]

#: What a service writes to send an email, by how its transaction is opened.
WITHOUT_SESSION = """
import asyncio
from types import SimpleNamespace
from mailctl import EmailService

user = SimpleNamespace(id=1, email="ada@example.com", username="ada")

async def main():
    await EmailService.prepare()
    print(await EmailService.send_welcome_email(user))
    await EmailService.close()

asyncio.run(main())
"""
WITH_SESSION = WITHOUT_SESSION.replace(
    "    print(await EmailService.send_welcome_email(user))\n",
    """
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session
    with Session(create_engine("sqlite:///shop.db")) as session:
        print(await EmailService.send_welcome_email(user, session=session))
        session.commit()
""",
)
WITH_ASYNC_SESSION = WITHOUT_SESSION.replace(
    "    print(await EmailService.send_welcome_email(user))\n",
    """
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
    engine = create_async_engine("sqlite+aiosqlite:///shop.db")
    async with AsyncSession(engine) as session:
        print(await EmailService.send_welcome_email(user, session=session))
        await session.commit()
    await engine.dispose()
""",
)
#: Runs statements, and prints what each raises.
TRY_ALL = """
import json, sys
for statement in json.loads(sys.argv[1]):
    try:
        exec(statement, {})
    except Exception as error:
        print(json.dumps([statement, type(error).__name__, str(error), getattr(error, "fix", "")]))
"""
#: Prints the words of every command that there is.
ALL_COMMANDS = """
import json, typer
from mailctl.cli.main import app

def words(command, *path):
    names = getattr(command, "list_commands", lambda _: [])(typer.Context(command))
    yield path
    for name in names:
        yield from words(command.get_command(typer.Context(command), name), *path, name)

print(json.dumps(list(words(typer.main.get_command(app)))))
"""
#: Runs commands in one process, and prints how each ended.
RUN_ALL = """
import contextlib, io, json, sys
from mailctl.cli.main import main
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    print(json.dumps([words, code, out.getvalue(), err.getvalue()]))
"""


def imports_of_the_documents() -> list[str]:
    """Return each import of mailctl in their Python."""
    found = set()
    for block in (block for document in DOCUMENTS for block in blocks_of(document)):
        if block.language is Language.PYTHON:
            tree = compile(block.text, str(block), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
            imports = (node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))
            found |= {text for node in imports if "mailctl" in (text := ast.unparse(node))}
    return sorted(found)


def run_python(terminal: Terminal, *arguments: str) -> str:
    """Run Python to its end, and return what it prints."""
    window = terminal.open(terminal.python, *arguments, name="python")
    assert window.wait() == 0, window.output
    return window.output


def fetch(url: str) -> str:
    """Return a page; "" while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=20) as response:
            return str(response.read().decode())
    except OSError:
        return ""


def test_the_first_command_of_the_readme_works(package: Package, tmp_path: Path) -> None:
    """With pip, from the files here, in a new environment."""
    first = next(block for block in blocks_of(ROOT / "README.md") if block.text.startswith("pip install"))
    environment = package.environment(tmp_path / "environment", has_pip=True)
    path = f"{Path(environment).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", first.text],
        cwd=ROOT,
        # Modules are compiled when they are imported: most of those that are installed are not.
        env=os.environ | {"PATH": path, "PIP_NO_COMPILE": "1"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"captured" in done.stdout


def test_the_bare_package_shows_itself_and_sends(installed: Install) -> None:
    """The demo, and one email through `EmailService`, without and with the session of a service."""
    terminal = installed()
    assert terminal.run("demo").code == 0
    terminal.set(MAILCTL_DATABASE_URL="sqlite:///shop.db")
    ids = [run_python(terminal, "-c", script).strip() for script in (WITHOUT_SESSION, WITH_SESSION)]
    assert terminal.run("worker", "--drain").code == 0
    assert {found["state"] for found in terminal.statuses(ids)} == {"captured"}


def test_the_wheel_brings_a_manual_page_for_every_command(package: Package) -> None:
    """Beside `bin`, where `man` looks for them."""
    folder = Path(package.install()).parent.parent
    pages = {path.name for path in (folder / "share" / "man" / "man1").iterdir()}
    assert set(man_pages("1")) == pages


def test_an_asynchronous_session_needs_its_driver_only(installed: Install) -> None:
    """The service brings aiosqlite or asyncpg; all else is there."""
    terminal = installed(also=("aiosqlite",))
    terminal.set(MAILCTL_DATABASE_URL="sqlite:///shop.db")
    email_id = run_python(terminal, "-c", WITH_ASYNC_SESSION).strip()
    assert terminal.run("worker", "--drain").code == 0
    assert terminal.status(email_id)["state"] == "captured"


def test_every_command_of_the_bare_package_helps_or_names_its_extra(installed: Install) -> None:
    """No ImportError: help for all, a check of the set-up, and one sentence with what to install."""
    terminal = installed()
    commands = json.loads(run_python(terminal, "-c", ALL_COMMANDS))
    assert len(commands) > 40
    asked = [[*words, "--help"] for words in commands] + [["check-config", "--offline"]]
    ran = [json.loads(line) for line in run_python(terminal, "-c", RUN_ALL, json.dumps(asked)).splitlines()]
    assert [(words, code, err) for words, code, _, err in ran if code != 0] == []

    postgres = {"MAILCTL_DATABASE_URL": "postgresql://app@127.0.0.1/shop"}
    users = {"DATABASE_URL": "postgresql+asyncpg://app@127.0.0.1/shop"}
    redis = {"CELERY_BROKER_URL": "redis://127.0.0.1:1/0"}
    for words, extra, settings in (
        (("web",), "web", {}),
        (("preview", "welcome", "--serve"), "web", {}),
        (("flower",), "flower", redis),
        (("list",), "postgres", postgres),
        (("send", "welcome", "--user-id", "1"), "postgres", users),
    ):
        ran = terminal.run(*words, **settings)
        assert (ran.code, ran.out) == (2, ""), words
        assert f"pip install '.[{extra}]'" in ran.err, words
        assert "Traceback" not in ran.err, words


@pytest.mark.parametrize("extras", [(), ("web",)], ids=["bare", "web"])
def test_what_the_documents_import_is_there(installed: Install, extras: tuple[str, ...]) -> None:
    """Only the dashboard asks for its extra, in one sentence."""
    statements = imports_of_the_documents()
    assert "from mailctl.web import router" in statements
    printed = run_python(installed(*extras), "-c", TRY_ALL, json.dumps(statements))
    failed = [json.loads(line) for line in printed.splitlines()]
    told = [(statement, name, fix) for statement, name, _, fix in failed]
    fix = "Run in the folder of mailctl's source: pip install '.[web]'"
    missing = [("from mailctl.web import router", "ExtraMissing", fix)]
    assert told == ([] if extras else missing)


def test_the_web_extra_serves_the_dashboard(installed: Install) -> None:
    """From the start to a signal."""
    terminal = installed("web")
    port = free_port()
    window = terminal.open(terminal.python, "-m", "mailctl", "web", "--port", str(port), name="web")
    window.wait_until_printed("dashboard: ")
    window.wait_until(lambda: "ok" in fetch(f"http://127.0.0.1:{port}/healthz"))
    assert "<title>" in fetch(f"http://127.0.0.1:{port}/")
    assert window.stop() in (0, -15)
    assert "Traceback" not in window.output


def test_the_flower_extra_serves_flower(installed: Install, redis_server: RedisServer) -> None:
    """From the start to a signal."""
    terminal = installed("flower")
    terminal.set(CELERY_BROKER_URL=redis_server.url)
    port = free_port()
    window = terminal.open(terminal.python, "-m", "mailctl", "flower", f"--port={port}", name="flower")
    window.wait_until(lambda: "Flower" in fetch(f"http://127.0.0.1:{port}/"))
    assert window.stop() in (0, -15)
    assert "Traceback" not in window.output


def test_the_postgres_extra_keeps_the_log(installed: Install, postgres_url: str) -> None:
    """An email through a log in PostgreSQL."""
    terminal = installed("postgres")
    terminal.set(MAILCTL_DATABASE_URL=postgres_url)
    email_id = run_python(terminal, "-c", WITHOUT_SESSION).strip()
    assert terminal.run("worker", "--drain").code == 0
    assert terminal.status(email_id)["state"] == "captured"


def test_the_otel_extra_traces(installed: Install) -> None:
    """What the documents run a worker with has all that it needs but an exporter."""
    terminal = installed("otel")
    terminal.environment |= {
        "OTEL_TRACES_EXPORTER": "console",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }
    terminal.send("welcome", "--user-id", "1")
    instrument = terminal.python.replace("bin/python", "bin/opentelemetry-instrument")
    mailctl = terminal.python.replace("bin/python", "bin/mailctl")
    window = terminal.open(instrument, mailctl, "worker", "--drain", name="traced")
    assert window.wait() == 0, window.output
    assert '"name": "mailctl.deliver"' in window.output
