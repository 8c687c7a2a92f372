"""Commands that mailctl offers, and an operator who copies and runs them."""

from __future__ import annotations

import html
import re
import shlex
import subprocess
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from mailctl import runtime
from mailctl.settings import Settings
from tests.command_line import parse
from tests.every_email import CATALOG, EveryEmail

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.integration.commands import Mailctl


ACTS = ("retry", "release", "resend", "hold", "cancel")
#: In prose: after a colon, in backquotes, or as a next step.
IN_PROSE = re.compile(r"(?:: |`|next step  )((?:MAILCTL_HOME=\S+ )?(?:mailctl|chmod) [^`\n]*)")
#: What commands end with that were not refused: those that look say what they found.
CODES = {"status": {0, 1, 6}, "why": {0, 1, 6}, "check-config": {0, 1}, "monitor": {0, 1}}
NOT_FOUND = 3
#: What is filled in where a refused command says what would do instead.
BLANKS = {"ADDRESS": "203.0.113.7", "SUBJECT": "Hi", "number=VALUE": "number=1", "amount=VALUE": "amount=2"}


@dataclass(frozen=True)
class Offered:
    """A command line, and who offers it."""

    line: str
    by: str
    #: It is about an id that nobody knows.
    is_unknown: bool = False


def in_prose(text: str, by: str, *, is_unknown: bool = False) -> Iterator[Offered]:
    """Yield the commands that a text offers."""
    for found in IN_PROSE.finditer(text):
        yield Offered(found[1].strip(), by, is_unknown=is_unknown)


def on_page(page: str, by: str) -> Iterator[Offered]:
    """Yield the commands that a page has for copying, and those in its prose."""
    for found in re.finditer(r'data-copy="([^"]*)"', page):
        yield Offered(html.unescape(found[1]), by)
    for found in re.finditer(r'<(?:p|span) class="(?:fix|alert|note)"[^>]*>([^<]*)', page):
        yield from in_prose(html.unescape(found[1]), by)


class Operator:
    """Copies commands and runs them.

    Args:
        mailctl: runs a command in this process.
    """

    def __init__(self, mailctl: Mailctl, monkeypatch: pytest.MonkeyPatch) -> None:
        self._mailctl = mailctl
        #: Whether commands share what they have opened: hundreds about one log.
        self.shares_runtime = False
        self._monkeypatch = monkeypatch

    def refusals(self, offered: Iterable[Offered]) -> list[str]:
        """Run each command once; return what was refused."""
        by_line: dict[str, Offered] = {}
        for each in offered:
            by_line.setdefault(each.line, each)
        assert by_line
        return [fault for each in by_line.values() if (fault := self._fault(each))]

    def _fault(self, offered: Offered) -> str:
        words = [BLANKS.get(word, word) for word in shlex.split(offered.line)]
        if words[0] == "chmod":
            code = subprocess.run(["sh", "-c", offered.line], check=False).returncode
            return f"{offered}: {code}" if code else ""
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            self._monkeypatch.setenv(name, value)
        assert words.pop(0) == "mailctl", offered
        is_elsewhere = not offered.line.startswith("mailctl ") or words[0] == "--env-file"
        shared, words = (words[:2], words[2:]) if words[0] == "--env-file" else ([], words)
        if words[0] == "worker":
            parse([*shared, *words])  # it would run for ever; one is started below
            return ""
        if is_elsewhere:
            runtime.close()
        elif self.shares_runtime and not runtime.is_open():
            runtime.configure(Settings.load())
            runtime.current()
        keeps_open = self.shares_runtime and not is_elsewhere
        ran = self._mailctl(*shared, *harmless(words), keeps_open=keeps_open)
        self._monkeypatch.delenv("MAILCTL_HOME", raising=False)
        allowed = CODES.get(words[0], {0}) | ({NOT_FOUND} if offered.is_unknown else set())
        return "" if ran.code in allowed else f"{offered}: {ran.code} {ran.out} {ran.err}"


def harmless(words: list[str]) -> list[str]:
    """Return a command as it can be run here: only looking where it can, and not waiting for an end."""
    if "--help" in words:
        return words
    if words[0] in ACTS:
        return [words[0], "--dry-run", *words[1:]]
    if words[0] == "send":
        return [*words[:2], "--dry-run", *words[2:]]
    if words[:2] == ["workers", "stop"]:
        return ["workers", "stop", "--yes", *words[2:]]
    return [word for word in words if word != "--watch"]


@pytest.fixture
def operator(mailctl: Mailctl, monkeypatch: pytest.MonkeyPatch) -> Operator:
    """Somebody who copies commands, in a folder whose name a shell would act on."""
    return Operator(mailctl, monkeypatch)


@pytest.fixture
def log(mailctl: Mailctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A log with every email, in the folder where commands run."""
    (tmp_path / "shopkinds.py").write_text(CATALOG)
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "plain.html").write_text("<p>Hello</p>")
    (templates / "plain.txt").write_text("Hello")
    monkeypatch.setenv("MAILCTL_CATALOG", "shopkinds")
    monkeypatch.setenv("MAILCTL_TEMPLATES", "templates")
    monkeypatch.setenv("DEBUG", "True")
    with closing(runtime.Runtime(Settings.load())) as parts:
        return EveryEmail(parts).record_all()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that can be told to stop."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()
