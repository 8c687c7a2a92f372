"""Commands in texts: none is put together by hand, and each that is written down exists."""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import typer

import mailctl
from mailctl.cli.main import app
from tests.acceptance.blocks import DOCUMENTS
from tests.command_line import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(mailctl.__file__).parent
ROOT = PACKAGE.parent
NAMES = "|".join(sorted(typer.main.get_command(app).list_commands(None)))  # type: ignore[arg-type, attr-defined]
#: The beginning of a command that a value is put into.
HOLE = "\0"
COMPOSED = re.compile(rf"(?:\bmailctl (?:{NAMES})\b|\bchmod )[^`{HOLE}]*{HOLE}")
#: A command that is written down: in backquotes, or alone after a colon.
WRITTEN = re.compile(rf"`mailctl ({NAMES})\b([^`]*)`|: mailctl ({NAMES})\b([^`.]*)\.?$", re.MULTILINE)
#: What stands for a value in the documents and in help texts.
BLANKS = {
    "ID": "e1",
    "LENGTH": "1h",
    "ADDRESS": "zoe@example.com",
    "KIND": "welcome",
    "FILE": "users.csv",
    "MARK": "hold-1",
}


@cache
def modules() -> list[tuple[Path, ast.Module]]:
    """Return the package's modules."""
    return [(path, ast.parse(path.read_text())) for path in sorted(PACKAGE.rglob("*.py"))]


def with_holes(node: ast.AST) -> str | None:
    """Return a text that is put together, each value in it a hole; None for anything else."""
    match node:
        case ast.JoinedStr():
            return "".join(part.value if isinstance(part, ast.Constant) else HOLE for part in node.values)
        case ast.BinOp(op=ast.Add()):
            left, right = with_holes(node.left), with_holes(node.right)
            return None if left is None and right is None else f"{left or HOLE}{right or HOLE}"
        case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod()):
            return re.sub(r"%[sdr]", HOLE, text)
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format")):
            return re.sub(r"\{[^}]*\}", HOLE, text)
        case ast.Constant(value=str(text)):
            return text
        case _:
            return None


def test_no_command_is_put_together_by_hand() -> None:
    """Whatever has a value in it is composed by `mailctl.domain.shell_command`, which quotes it."""
    found = [
        f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}"
        for path, module in modules()
        for node in ast.walk(module)
        if COMPOSED.search(with_holes(node) or "")
    ]
    assert found == []


def test_no_template_puts_one_together() -> None:
    """The same for pages."""
    for path in (PACKAGE / "web" / "templates").glob("*.html"):
        text = path.read_text()
        assert not re.search(r"[\"']mailctl [^\"']*[\"']\s*~|\bmailctl [a-z-]+[^<]*\{\{", text), path
        assert '"mailctl ' not in text, path


def test_a_command_put_together_by_hand_would_be_found() -> None:
    """In each way in which that can be done."""
    for source in (
        'f"Run `mailctl why {x}`."',
        'f"Start one: mailctl worker -Q {x}"',
        '"mailctl why " + x',
        '"mailctl why %s" % x',
        '"mailctl why {}".format(x)',
        'f"chmod o-r {x}"',
    ):
        node = ast.parse(source, mode="eval").body
        assert COMPOSED.search(with_holes(node) or ""), source
    assert not COMPOSED.search(with_holes(ast.parse('f"Run `mailctl list` in {x}."', mode="eval").body) or "")


@dataclass(frozen=True)
class Written:
    """A command that is written down somewhere."""

    place: str
    words: str
    #: It is told as what to do, and not only named.
    is_fix: bool

    def fault(self) -> str:
        """Return why the command line does not take it; "" if it does."""
        try:
            parse([BLANKS.get(word, word) for word in shlex.split(self.words)])
        except typer.TyperException as error:
            # One that is only named needs no values.
            is_unfinished = "Missing" in str(error) or "requires an argument" in str(error)
            if self.is_fix or not is_unfinished:
                return f"{self.place}: {self.words}: {error}"
        return ""


def written_in_package() -> Iterator[Written]:
    """Yield what texts of the package tell or name."""
    for path, module in modules():
        fixes = {
            id(part)
            for node in ast.walk(module)
            if isinstance(node, ast.keyword) and node.arg == "fix"
            for part in ast.walk(node.value)
        }
        for node in ast.walk(module):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                place = f"{path.relative_to(PACKAGE)}:{node.lineno}"
                for found in WRITTEN.finditer(node.value):
                    for words in alternatives(found):
                        yield Written(place, words, is_fix=id(node) in fixes)


def written_in_documents() -> Iterator[Written]:
    """Yield what the texts, tables and examples of the documents tell or name."""
    for document in DOCUMENTS:
        text = document.read_text()
        for pattern in (rf"`mailctl ({NAMES})\b([^`\n]*)`", rf"^ *\$ mailctl ({NAMES})\b([^#>\n]*)"):
            for found in re.finditer(pattern, text, re.MULTILINE):
                if "send invoice" not in found[0]:  # a kind of the service's own
                    for words in alternatives(found):
                        yield Written(str(document.relative_to(ROOT)), words, is_fix=False)


def alternatives(found: re.Match[str]) -> list[str]:
    """Return the commands of one text: `queue pause|resume` stands for two."""
    words = "".join(filter(None, found.groups()))
    several = re.search(r"[a-z]+(?:\|[a-z]+)+", words)
    if several is None:
        return [words]
    return [words.replace(several[0], each) for each in several[0].split("|")]


def test_each_command_that_is_written_down_exists() -> None:
    """With its options; what is told as a fix is whole but for what is in capitals."""
    found = [*written_in_package(), *written_in_documents()]
    assert len(found) > 100
    assert [fault for each in found if (fault := each.fault())] == []
