"""Every text that people read, in one file: `python -m docs.generators.sentences > sentences.txt`.

First the help of every command as it is printed, then the sentences and labels of the code by module, then
the texts of the dashboard's pages and their script, and of the built-in emails.
"""

from __future__ import annotations

import ast
import re
import sys
from typing import TYPE_CHECKING

from docs.generators.house import PACKAGE, ROOT
from docs.generators.man_pages import every_command_and_group

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A text is read by people if it has two words with a space between them.
_WORDS = re.compile(r"[A-Za-z'…)}]{2,},? [A-Za-z'({]")
#: What has words and is read by programs: SQL, CSS and HTTP policies, templates of code, patterns.
_FOR_PROGRAMS = re.compile(
    r"^\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|PRAGMA|WITH|ALTER|DROP|LOCK|SET|BEGIN|default-src|local )"
    r"|\\b|\(\?|\[\^",
)
#: A text in JavaScript.
_SCRIPT_TEXT = re.compile(r"[\"`]([^\"`\n]*)[\"`]")
_TAG = re.compile(r"\{[%#].*?[%#]\}|<(style|script)\b.*?</\1>|<[^>]*>", re.DOTALL)


def sentences() -> Iterator[str]:
    """Yield the lines of the file."""
    for words, command, context in every_command_and_group():
        yield from ("", f"==== {words} --help", *command.get_help(context).splitlines())
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        found = list(dict.fromkeys(_texts(ast.parse(path.read_text()))))
        if found and "migrations" not in path.parts:
            yield from ("", f"==== {path.relative_to(ROOT)}", *found)
    for path in sorted((ROOT / PACKAGE).rglob("*.html")) + sorted((ROOT / PACKAGE).rglob("*.txt")):
        lines = (" ".join(line.split()) for line in _TAG.sub("\n", path.read_text()).splitlines())
        yield from ("", f"==== {path.relative_to(ROOT)}", *filter(_WORDS.search, lines))
    for path in sorted((ROOT / PACKAGE).rglob("*.js")):
        texts = filter(_WORDS.search, _SCRIPT_TEXT.findall(path.read_text()))
        yield from ("", f"==== {path.relative_to(ROOT)}", *texts)


def _texts(tree: ast.Module) -> Iterator[str]:
    """Yield the texts in a module, without its docstrings; {…} stands for what is only known later."""
    skipped = {id(node) for each in ast.walk(tree) for node in _docstrings(each)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in ast.walk(node) if part is not node}
    for node in ast.walk(tree):
        if id(node) in skipped or not isinstance(node, ast.Constant | ast.JoinedStr):
            continue
        text = _text(node)
        if _WORDS.search(text) and not _FOR_PROGRAMS.search(text):
            yield " ".join(text.split())


def _docstrings(node: ast.AST) -> Iterator[ast.AST]:
    body = getattr(node, "body", None)
    if isinstance(body, list):
        yield from (each.value for each in body if isinstance(each, ast.Expr))


def _text(node: ast.Constant | ast.JoinedStr) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(
        f"{{{ast.unparse(part.value)}}}" if isinstance(part, ast.FormattedValue) else _text(part)
        for part in node.values
        if isinstance(part, ast.Constant | ast.FormattedValue)
    )


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in sentences())
