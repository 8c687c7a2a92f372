"""Connection URLs that nobody can read in one way only are refused by every command, and quoted by none."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from mailctl.errors import ExitCode
from mailctl.settings import Settings
from tests.integration.test_json import COMMANDS, ELSEWHERE, LISTS, WITHOUT_JSON
from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import CompletedProcess

    from tests.integration.commands import Mailctl

#: The property of a report that carries a row of the table.
PROPERTY = "settings"
SECRET_KEY = "a-secret-key-of-the-service-that-is-long"
#: Two halves of a password; no text of ours has four letters of either.
FIRST, SECOND = "qZ7xWvJ9", "kJ5yBgX3"
UNENCODED = ["#", "/", "@", "?", "%", "/@", "?@", "#@", "[#", " @ ", "%2", "\n", "\x00", "::/"]
BROKERS = ("REDIS_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND")
DATABASES = ("DATABASE_URL", "MAILCTL_DATABASE_URL")
_PASSWORD = f"{FIRST}{SECOND}"
#: Each command meets every so-manieth value of a setting, each value every so-manieth command.
STRIDE = 12
#: What is wrong with the rest of a URL.
WRONG_BROKERS = {
    "a semicolon in the password": f"redis://:{FIRST};{SECOND}@h:6379/0",
    "http": f"http://:{_PASSWORD}@h:6379/0",
    "valkey": f"valkey://:{_PASSWORD}@h:6379/0",
    "valkeys": f"valkeys://:{_PASSWORD}@h:6379/0",
    "no scheme": f":{_PASSWORD}@h:6379/0",
    "a port of letters": f"redis://:{_PASSWORD}@h:port/0",
    "a port too large": f"redis://:{_PASSWORD}@h:65536/0",
    "no host": f"redis://:{_PASSWORD}@/0",
    "no host, and a password without @": f"redis://:{_PASSWORD}",
    "a database of letters": f"redis://:{_PASSWORD}@h:6379/{FIRST}",
    "an unknown option": f"redis://:{_PASSWORD}@h:6379/0?{FIRST}=1",
    "an option without a value": f"redis://:{_PASSWORD}@h:6379/0?{FIRST}",
    "TLS options without TLS": f"redis://:{_PASSWORD}@h:6379/0?ssl_cert_reqs=none",
    "an unknown verification": f"rediss://:{_PASSWORD}@h:6379/0?ssl_cert_reqs={FIRST}",
    "bytes that are not UTF-8": f"redis://:{_PASSWORD}%FF@h:6379/0",
    "half an IPv6 address": f"redis://:{_PASSWORD}@[::1:6379/0",
    "a second URL without scheme": f"sentinel://:{_PASSWORD}@h:26379/0;:{_PASSWORD}@h:26379/0",
}
WRONG_DATABASES = {
    "http": f"http://user:{_PASSWORD}@h/db",
    "no scheme": f"user:{_PASSWORD}@h/db",
    "an unknown database": f"cassandra://user:{_PASSWORD}@h/db",
    "no database": f"postgresql://user:{_PASSWORD}@h",
    "no database after the slash": f"postgresql://user:{_PASSWORD}@h/",
    "a port of letters": f"postgresql://user:{_PASSWORD}@h:port/db",
    "an unknown option": f"postgresql://user:{_PASSWORD}@h/db?{FIRST}=1",
    "a threshold of letters": f"postgresql://user:{_PASSWORD}@h/db?prepare_threshold={FIRST}",
    "a time of letters": f"postgresql://user:{_PASSWORD}@h/db?connect_timeout={FIRST}",
    "SQLite with a host": f"sqlite://user:{_PASSWORD}@h/mail.db",
    "SQLite with two slashes": f"sqlite://{FIRST}.db",
    "SQLite in memory": "sqlite://",
    "SQLite with an unknown option": f"sqlite:///mail.db?{FIRST}=1",
    "SQLite with a time of letters": f"sqlite:///mail.db?timeout={FIRST}",
}


def _leaves() -> Iterator[tuple[str, ...]]:
    """Yield each command once, with arguments; those that read no settings are left out."""
    seen = {"demo", "schema", "help", "version", "init", "config"}
    for line, _ in COMMANDS:
        words = line.format(id="0" * 8, failed="1" * 8, key="2" * 8)
        name = tuple(word for word in shlex.split(line)[:2] if word.isalpha() or "-" in word[1:])
        if " ".join(name) not in seen and name[0] not in seen:
            seen.add(" ".join(name))
            yield tuple(shlex.split(words))
    yield from (tuple(name.split()) for name in [*WITHOUT_JSON, *ELSEWHERE] if name not in seen)


EVERY_COMMAND = list(_leaves())


def urls(setting: str) -> dict[str, str]:
    """Return hostile values of a setting, by what is wrong with them."""
    prefix, rest = ("redis://:", "h:6379/0") if setting in BROKERS else ("postgresql://user:", "h/db")
    passwords = {f"{sign!r} in the password": f"{prefix}{FIRST}{sign}{SECOND}@{rest}" for sign in UNENCODED}
    return passwords | (WRONG_BROKERS if setting in BROKERS else WRONG_DATABASES)


def refusal_code(command: tuple[str, ...]) -> ExitCode:
    """Return the exit code of a command that the settings keep from running.

    A mail server that hands a bounce over tries again only if it is told so.
    """
    return ExitCode.TRY_AGAIN if command[:2] == ("feedback", "ingest") else ExitCode.USAGE


def fragments_in(text: str) -> list[str]:
    """Return what a text tells of the password: any four characters of a half of it."""
    pieces = {half[start : start + 4] for half in (FIRST, SECOND) for start in range(len(half) - 3)}
    return sorted(piece for piece in pieces if piece.lower() in text.lower())


@pytest.mark.parametrize("setting", [*BROKERS, *DATABASES])
def test_every_command_refuses_it_in_one_sentence(
    setting: str, mailctl: Mailctl, monkeypatch: pytest.MonkeyPatch, record_property: Any, tmp_path: Path
) -> None:
    """With the setting's name and what to do; no part of the password, with -v neither."""
    monkeypatch.setenv("DEBUG", "False")
    monkeypatch.setenv("SECRET_KEY", SECRET_KEY)
    for name, text in LISTS.items():
        (tmp_path / name).write_text(text)
    runs = told = 0
    hostile = urls(setting)
    for number, (what, url) in enumerate(hostile.items()):
        if "\x00" in url:
            (tmp_path / ".env").write_bytes(f'{setting}="{url}"\n'.encode())
            monkeypatch.delenv(setting, raising=False)
        else:
            monkeypatch.setenv(setting, url)
        for command in EVERY_COMMAND[number % STRIDE :: STRIDE]:
            ran = mailctl(*command)
            assert ran.code == refusal_code(command), (what, command, ran.out, ran.err)
            assert len(ran.err.splitlines()) == 1, (what, command, ran.err)
            assert ran.err.startswith(f"error: {setting} ("), (what, command, ran.err)
            verbose = mailctl(*command, "-v")
            runs += 2
            told += len(ran.out + ran.err + verbose.out + verbose.err)
            found = fragments_in(ran.out + ran.err + verbose.out + verbose.err)
            assert not found, (what, command, verbose.err)
    counts = (len(hostile), len(EVERY_COMMAND), runs, told, runs, 0)
    record_property(PROPERTY, (setting, *map(str, counts)))


#: What a service does: it prepares EmailService, and has the dashboard among its routes.
SERVICE = """
import asyncio, json, logging, os, sys, traceback
import httpx
from fastapi import FastAPI
from mailctl import EmailService
from mailctl.errors import ConfigurationError
from mailctl.web import create_app, router
from tests.web_server import serving

logging.basicConfig(level=logging.DEBUG)
service = FastAPI()
service.include_router(router, prefix="/mail")
apps = {"own": (create_app(), ("/other", "/api/emails")), "included": (service, ("/mail/other", "/mail/"))}
hostile = json.load(sys.stdin)
with serving(apps["own"][0]) as own, serving(apps["included"][0]) as included, httpx.Client() as client:
    for setting, urls in hostile.items():
        for number, url in enumerate(urls):
            os.environ[setting] = url
            try:
                asyncio.run(EmailService.prepare())
                print("PREPARED", setting)
            except ConfigurationError as error:
                print(f"refused: {error} {error.fix}")
                traceback.print_exc(file=sys.stdout)
            address, (_, paths) = ((own, apps["own"]), (included, apps["included"]))[number % 2]
            for path in paths:
                answer = client.get(address + path)
                print(answer.status_code, dict(answer.headers), answer.text)
            del os.environ[setting]
"""


def test_a_service_refuses_it_and_neither_its_dashboard_nor_its_log_quotes_it(tmp_path: Path) -> None:
    """EmailService.prepare() raises a ConfigurationError; pages, 404s and the log at DEBUG tell nothing."""
    hostile = {setting: list(urls(setting).values()) for setting in [*BROKERS, *DATABASES]}
    hostile = {setting: [url for url in found if "\x00" not in url] for setting, found in hostile.items()}
    (tmp_path / "service.py").write_text(SERVICE)
    environment = {"DEBUG": "False", "SECRET_KEY": SECRET_KEY, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = run_python(tmp_path, "service.py", stdin=json.dumps(hostile), **environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("refused: ") == sum(map(len, hostile.values()))
    assert "PREPARED" not in done.stdout
    assert "DEBUG" in done.stderr
    assert fragments_in(done.stdout + done.stderr) == []


@pytest.mark.parametrize("command", ["worker -l DEBUG -v", "list -v", "web -v"])
def test_an_installed_command_quotes_it_as_little(tmp_path: Path, command: str) -> None:
    """In a process of its own, with the value in its .env."""
    url = f"redis://:{FIRST}#{SECOND}@h:6379/0"
    (tmp_path / ".env").write_text(f'DEBUG=False\nSECRET_KEY={SECRET_KEY}\nREDIS_URL="{url}"\n')
    done = run_python(tmp_path, "-m", "mailctl", *command.split())
    assert done.returncode == ExitCode.USAGE
    assert "REDIS_URL (.env): contains a character that must be percent-encoded" in done.stderr
    assert fragments_in(done.stdout + done.stderr) == []


APP = """
from celery import Celery
app = Celery("shop", set_as_current=False)
app.conf.{name} = {value!r}
"""


@pytest.mark.parametrize("name", ["broker_url", "broker_read_url", "result_backend"])
def test_the_url_of_a_services_own_app_is_refused_as_well(
    name: str, mailctl: Mailctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Celery would quote it in the error with which it stops."""
    monkeypatch.syspath_prepend(tmp_path)
    url = f"redis://:{FIRST}#{SECOND}@h:6379/0"
    module = f"shop_{name}"
    (tmp_path / f"{module}.py").write_text(APP.format(name=name, value=url))
    for line in ("send welcome --user-id 1", "worker", "queue list", "check-config --offline", "flower"):
        ran = mailctl(*shlex.split(line), "--app", f"{module}:app", "-v")
        assert ran.code in (ExitCode.FAILED, ExitCode.USAGE), (line, ran.out, ran.err)
        assert "contains a character that must be percent-encoded" in ran.out + ran.err, (
            line,
            ran.out,
            ran.err,
        )
        assert not fragments_in(ran.out + ran.err), (line, ran.out, ran.err)


@pytest.mark.parametrize("name", ["CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"])
def test_what_celery_reads_from_the_environment_is_looked_at_too(
    name: str, mailctl: Mailctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes before what the app was made with."""
    monkeypatch.setenv("DEBUG", "False")
    monkeypatch.setenv("SECRET_KEY", SECRET_KEY)
    monkeypatch.setenv(name, f"redis://:{FIRST}/{SECOND}@h:6379/0")
    ran = mailctl("worker", "-v")
    assert ran.code == ExitCode.USAGE
    assert not fragments_in(ran.out + ran.err), ran.err


#: Any password may stand in a URL once it is percent-encoded.
ENCODED = quote(f"{FIRST}#/@?%;:[] '\"&=+é{SECOND}", safe="")


@pytest.mark.parametrize(
    ("setting", "url"),
    [
        ("REDIS_URL", "redis://:{password}@127.0.0.1:{port}/0"),
        ("CELERY_BROKER_URL", "amqp://user:{password}@127.0.0.1:{port}//"),
        ("CELERY_RESULT_BACKEND", "rediss://user:{password}@127.0.0.1:{port}/0"),
        ("MAILCTL_DATABASE_URL", "postgresql://user:{password}@127.0.0.1:{port}/db?sslpassword={password}"),
        ("DATABASE_URL", "postgresql+asyncpg://user:{password}@127.0.0.1:{port}/db?ssl=disable"),
    ],
)
def test_no_command_tells_the_password_of_a_server_that_is_down(
    setting: str, url: str, mailctl: Mailctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is named without it, also in the errors of drivers and with -v."""
    monkeypatch.setenv("DEBUG", "False")
    monkeypatch.setenv("SECRET_KEY", SECRET_KEY)
    monkeypatch.setenv(setting, url.format(password=ENCODED, port=free_port()))
    for line in (
        "send welcome --email zoe@example.com",
        "send welcome --user-id 1",
        "list",
        "status 00000000",
    ):
        ran = mailctl(*shlex.split(line), "-v")
        assert not fragments_in(ran.out + ran.err), (line, ran.out, ran.err)
    for line in ("health", "queue list", "users list", "workers", "check-config", "worker --drain"):
        ran = mailctl(*shlex.split(line), "-v")
        assert ran.code in (ExitCode.DONE, ExitCode.FAILED, ExitCode.USAGE, ExitCode.UNAVAILABLE), (line, ran)
        assert not fragments_in(ran.out + ran.err), (line, ran.out, ran.err)


def run_python(folder: Path, *arguments: str, stdin: str = "", **settings: str) -> CompletedProcess[str]:
    """Run Python in a folder where nothing else is set."""
    foreign = {name.upper() for name in Settings.model_fields}
    inherited = {name: value for name, value in os.environ.items() if name not in foreign}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=inherited | settings,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
