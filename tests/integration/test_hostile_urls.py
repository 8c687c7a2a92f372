"""Connection URLs that nobody can read in one way only are refused by every command, and quoted by none."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.errors import ExitCode
from tests.integration.test_json import COMMANDS, LISTS, WITHOUT_JSON

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.commands import Mailctl

#: The property of a report that carries a row of the table.
PROPERTY = "settings"
#: Two halves of a password; no text of ours has four letters of either.
FIRST, SECOND = "qZ7xWvJ9", "kJ5yBgX3"
UNENCODED = ["#", "/", "@", "?", "%", "/@", "?@", "#@", "[#", " @ ", "%2", "\n", "\x00", "::/"]
BROKERS = ("REDIS_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND")
DATABASES = ("DATABASE_URL", "MAILCTL_DATABASE_URL")
_PASSWORD = f"{FIRST}{SECOND}"
#: Each command meets every so-manieth value of a setting, each value every so-manieth command.
STRIDE = 6
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
    seen = {"demo"}
    for line, _ in COMMANDS:
        words = line.format(id="0" * 8, failed="1" * 8, key="2" * 8)
        name = tuple(word for word in shlex.split(line)[:2] if word.isalpha() or "-" in word[1:])
        if " ".join(name) not in seen and name[0] not in seen:
            seen.add(" ".join(name))
            yield tuple(shlex.split(words))
    yield from ((name,) for name in sorted(WITHOUT_JSON))


EVERY_COMMAND = list(_leaves())


def urls(setting: str) -> dict[str, str]:
    """Return hostile values of a setting, by what is wrong with them."""
    prefix, rest = ("redis://:", "h:6379/0") if setting in BROKERS else ("postgresql://user:", "h/db")
    passwords = {f"{sign!r} in the password": f"{prefix}{FIRST}{sign}{SECOND}@{rest}" for sign in UNENCODED}
    return passwords | (WRONG_BROKERS if setting in BROKERS else WRONG_DATABASES)


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
    monkeypatch.setenv("SECRET_KEY", "k" * 48)
    for name, text in LISTS.items():
        (tmp_path / name).write_text(text)
    told = 0
    hostile = urls(setting)
    for number, (what, url) in enumerate(hostile.items()):
        if "\x00" in url:
            (tmp_path / ".env").write_bytes(f'{setting}="{url}"\n'.encode())
            monkeypatch.delenv(setting, raising=False)
        else:
            monkeypatch.setenv(setting, url)
        for command in EVERY_COMMAND[number % STRIDE :: STRIDE]:
            ran = mailctl(*command)
            assert ran.code == ExitCode.USAGE, (what, command, ran.out, ran.err)
            assert len(ran.err.splitlines()) == 1, (what, command, ran.err)
            assert ran.err.startswith(f"error: {setting} ("), (what, command, ran.err)
            verbose = mailctl(*command, "-v")
            told += len(ran.out + ran.err + verbose.out + verbose.err)
            found = fragments_in(ran.out + ran.err + verbose.out + verbose.err)
            assert not found, (what, command, verbose.err)
    record_property(PROPERTY, (setting, str(len(hostile)), str(len(EVERY_COMMAND)), str(told), "0"))
