"""The code blocks of a Markdown document, and what the document says of running them.

A comment before a block is for the tests: `<!-- not run: REASON -->` keeps them from running it,
`<!-- given: NAME -->` has them prepare something first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMPT = "$ "
_FENCE = re.compile(r"```(\w*)\s*$")
#: A heading that begins a section; those of lower levels are parts of it.
_HEADING = re.compile(r"#{1,2} (.+)$")
_ROOT = Path(__file__).parents[2]
#: All that people read; the reference pages get more when the site is built, which needs no running.
DOCUMENTS = [
    *(_ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((_ROOT / "docs").rglob("*.md")),
]
_COMMENT = re.compile(r"<!-- (not run|given): (.+) -->$")
_FILE = re.compile(r"# ([\w./-]+\.py)\b")
_PYTHON = re.compile(r"(?m)^(import|from|await|async|def|class|@|# [\w./-]+\.py\b)")
#: Programs whose name at the start of a block without prompts makes it one of commands.
_PROGRAMS = ("pip ", "pytest ", "python ", "bash ", "mailctl ")


class Language(StrEnum):
    """What a block is written in."""

    PYTHON = "python"
    CONSOLE = "console"  #: commands, with what they print where they have prompts
    TEXT = "text"


_BY_FENCE = {
    "python": Language.PYTHON,
    "py": Language.PYTHON,
    "console": Language.CONSOLE,
    "shell": Language.CONSOLE,
    "sh": Language.CONSOLE,
    "bash": Language.CONSOLE,
}


@dataclass(frozen=True, kw_only=True)
class Block:
    """One block of code."""

    document: str
    #: The line of the document that it begins on.
    line: int
    #: The heading of its section.
    section: str
    language: Language
    text: str
    #: Why the tests do not run it.
    reason: str | None = None
    #: What has to be prepared for it.
    given: str | None = None

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def file(self) -> str | None:
        """The file that the block is, where its first line names one."""
        found = _FILE.match(self.text)
        return found[1] if found and self.language is Language.PYTHON else None


def blocks_of(document: Path) -> list[Block]:
    """Return the blocks of a document, fenced and indented, in order."""
    return list(_Reader(str(document.relative_to(_ROOT)), document.read_text().splitlines()).blocks())


class _Reader:
    def __init__(self, name: str, lines: list[str]) -> None:
        self._name = name
        self._lines = lines
        self._section = ""
        self._said: dict[str, str] = {}

    def blocks(self) -> Iterator[Block]:
        at = 0
        while at < len(self._lines):
            line = self._lines[at]
            if fence := _FENCE.match(line):
                end = next(n for n in range(at + 1, len(self._lines)) if self._lines[n].startswith("```"))
                yield self._block(at + 1, end, fence[1])
                at = end + 1
            elif self._begins_indented(at):
                end = self._end_of_indented(at)
                yield self._block(at, end, "")
                at = end
            else:
                self._read(line)
                at += 1

    def _read(self, line: str) -> None:
        if heading := _HEADING.match(line):
            self._section = heading[1]
        if comment := _COMMENT.match(line):
            self._said[comment[1]] = comment[2]
        elif line.strip():
            self._said.clear()

    def _begins_indented(self, at: int) -> bool:
        """Whether an indented block begins here: after an empty line or a comment."""
        before = self._lines[at - 1] if at else ""
        return self._lines[at].startswith("    ") and (not before.strip() or before.startswith("<!--"))

    def _end_of_indented(self, at: int) -> int:
        end = at + 1
        for n in range(at + 1, len(self._lines)):
            if self._lines[n].startswith("    "):
                end = n + 1
            elif self._lines[n].strip():
                break
        return end

    def _block(self, start: int, end: int, fence: str) -> Block:
        text = dedent("\n".join(self._lines[start:end])) + "\n"
        said, self._said = self._said, {}
        return Block(
            document=self._name,
            line=start + 1,
            section=self._section,
            language=_BY_FENCE.get(fence, Language.TEXT) if fence else _language(text),
            text=text,
            reason=said.get("not run"),
            given=said.get("given"),
        )


def _language(text: str) -> Language:
    if text.startswith((PROMPT, *_PROGRAMS)):
        return Language.CONSOLE
    return Language.PYTHON if _PYTHON.search(text) else Language.TEXT
