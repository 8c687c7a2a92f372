"""Carries out what a document shows of a terminal: commands after prompts, and what they print."""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.acceptance.blocks import PROMPT
from tests.acceptance.terminal import PATIENCE, words_of_python

if TYPE_CHECKING:
    from tests.acceptance.blocks import Block
    from tests.acceptance.terminal import Terminal

#: Programs that run until they are stopped, and what they print when they are ready.
_SERVERS = {"mailctl worker": "ready.", "mailctl web": "dashboard:", "uvicorn ": "startup complete"}
#: What may be asked again until it prints what is shown, because emails are still under way.
_QUESTIONS = ("mailctl status ", "mailctl why ", "mailctl list ", "mailctl health", "mailctl monitor")
#: What these tests leave out: everything is installed here, and tests/packaging installs it from nothing.
_INSTALLATION = re.compile(r"pip install [^&]*(&& )?")
_FILE = re.compile(r"cat (\S+)$")
_COMMENT = re.compile(r"\s+# .*$")
_ANYTHING = "…"
#: What is another one each time; `id` may stand in later commands.
_CHANGING = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ)|(?P<stamp>\d{8}T\d{6}Z)|(?P<host>celery@\w+)"
    r"|(?P<age>\d+ s ago)"
    r"|(?P<short>[0-9a-f]{4,}…)|(?P<id>(?<![0-9a-f])[0-9a-f]{8,}(?:-[0-9a-f]{4,})*)|(?P<rest>…)|(?P<space>\s+)"
)
_PATTERNS = {
    "time": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ",
    "stamp": r"\d{8}T\d{6}Z",
    "host": r"celery@\S+",
    "age": r"\d+ s ago",
    "short": "[0-9a-f-]+",
    "rest": ".*",
    "space": r"\s+",
}
_WORD_OF_ID = re.compile(r"(?<![\w])[0-9a-f]{6,}[0-9a-f-]*|(?<=-)[0-9a-f]{8,}")


@dataclass
class Step:
    """A command, and the lines that the document shows below it."""

    command: str
    shown: list[str] = field(default_factory=list)

    @property
    def file(self) -> str | None:
        """The file that this shows, instead of printing it."""
        found = _FILE.match(self.command)
        return found[1] if found else None


def steps_of(block: Block) -> list[Step]:
    """Return the commands of a block; where it has no prompts, every line is one."""
    lines = block.text.splitlines()
    if not any(line.startswith(PROMPT) for line in lines):
        return [Step(command) for line in lines if (command := _command(line))]
    steps: list[Step] = []
    for line in lines:
        if line.startswith(PROMPT):
            steps.append(Step(_command(line.removeprefix(PROMPT))))
        elif line.strip():
            steps[-1].shown.append(line)
    return steps


def _server_in(command: str) -> str | None:
    """Return which of the programs that run until they are stopped a command starts."""
    if "--drain" in command:
        return None
    return next((name for name in _SERVERS if command.startswith(name)), None)


def _command(line: str) -> str:
    return _INSTALLATION.sub("", _COMMENT.sub("", line)).strip()


#: A worker that takes the message at once leaves no time to record this.
_MAY_BE_MISSING = "queued     published to the broker"


class Console:
    """Runs the blocks of a document, one after the other, in the folder of a terminal.

    Args:
        terminal: whose folder, settings and Python are used.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        #: What stands in the tests for words of the files that are shown, such as names of hosts.
        self.values: dict[str, str] = {}
        #: By the id that the document shows: the real one.
        self._ids: dict[str, str] = {}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        terminal.environment["PATH"] = path

    def run(self, block: Block) -> None:
        """Run the commands of a block; each has to print what is shown, and to end with 0."""
        for step in steps_of(block):
            if not step.command:
                continue
            server = _server_in(step.command)
            if step.file is not None:
                self.write(step.file, step.shown)
            elif server is not None:
                words = words_of_python(step.command) or ["bash", "-c", f"exec {step.command}"]
                window = self._terminal.open(*words, name=server.split()[0])
                window.wait_until_printed(_SERVERS[server])
                assert self._compare(step, window.output) is None, f"{block}: {window.output}"
            else:
                self._finish(step, at=str(block))

    def write(self, name: str, lines: list[str]) -> None:
        """Write a file that the document shows."""
        text = "\n".join(lines) + "\n"
        for word, value in self.values.items():
            text = text.replace(word, value)
        (self._terminal.folder / name).write_text(text)

    def _finish(self, step: Step, *, at: str) -> None:
        command = _WORD_OF_ID.sub(self._real_id, step.command)
        deadline = time.monotonic() + (PATIENCE if command.startswith(_QUESTIONS) else 0)
        while True:
            code, printed = self._terminal.shell(command)
            missing = self._compare(step, printed)
            if (code == 0 and missing is None) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        assert code == 0, f"{at}: {command}: exit code {code}\n{printed}"
        assert missing is None, f"{at}: {command} does not print {missing!r}, but\n{printed}"

    def _compare(self, step: Step, printed: str) -> str | None:
        """Return the first line that is shown and was not printed, in this order; learn the ids."""
        actual = [line.strip() for line in printed.splitlines()]
        for line in step.shown:
            expected = _COMMENT.sub("", line).strip()
            if expected == _ANYTHING:
                continue
            pattern, ids = _pattern(expected)
            place = next((at for at, each in enumerate(actual) if pattern.fullmatch(each)), None)
            if place is None and not expected.endswith(_MAY_BE_MISSING):
                return line
            if place is not None and (found := pattern.fullmatch(actual[place])):
                self._ids |= dict(zip(ids, found.groups(), strict=True))
                del actual[: place + 1]
        return None

    def _real_id(self, word: re.Match[str]) -> str:
        return next((real for shown, real in self._ids.items() if shown.startswith(word[0])), word[0])


def _pattern(line: str) -> tuple[re.Pattern[str], list[str]]:
    """Return what matches a line as it is printed another time, with a group for each id in it."""
    pieces, ids, at = [], [], 0
    for found in _CHANGING.finditer(line):
        pieces.append(re.escape(line[at : found.start()]))
        kind = str(found.lastgroup)
        if kind == "id":
            ids.append(found[0])
        pieces.append(_PATTERNS.get(kind, "([0-9a-f-]+)"))
        at = found.end()
    pieces.append(re.escape(line[at:]))
    return re.compile("".join(pieces)), ids


RUNNER = """
import ast, asyncio, inspect, sys
code = compile(open(sys.argv[1]).read(), sys.argv[1], "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
made = eval(code, {"__name__": "__main__"})
if inspect.iscoroutine(made):
    asyncio.run(made)
"""


def run_python(terminal: Terminal, text: str, *, at: str) -> None:
    """Run Python as `python -m asyncio` does, which knows `await` outside of functions."""
    file = terminal.folder / "block.py"
    file.write_text(text)
    window = terminal.open(terminal.python, "-c", RUNNER, file.name, name="python")
    assert window.wait() == 0, f"{at}: {window.output}"
