"""What decides is a code or a column: nothing in the package compares texts that are written for people."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import mailctl

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(mailctl.__file__).parent
#: Attributes that hold text for people, of rows, columns and values alike.
TEXTS = frozenset({"error", "text", "smtp_text", "reason", "detail", "sentence", "explanation"})
#: Methods and functions that look for a wording within a text.
MATCHES = frozenset(
    {
        *("startswith", "endswith", "contains", "like", "ilike", "icontains", "istartswith", "regexp_match"),
        *("removeprefix", "removesuffix", "partition", "rpartition", "find", "index", "match", "search"),
    }
)
#: Where texts may be looked through, and why.
ALLOWED = {
    # An operator types a part of an error to find emails by; nothing is decided by it.
    ("delivery_log/queries/search.py", "emails.c.error.icontains"),
    # An operator gives the id under which the mail server has queued an email; only its reply names it.
    ("delivery_log/queries/lookups.py", "emails.c.smtp_text.contains"),
    # The table of what mail servers say, which often tells more than their codes.
    ("smtp/known_replies.py", "self.wording.search"),
}
#: The one place that translates the wording of old versions.
MIGRATIONS = PACKAGE / "delivery_log" / "storage" / "migrations"


@cache
def _matches_in_the_package() -> set[tuple[str, str]]:
    """Return (module, expression) of each match."""
    return {
        (str(path.relative_to(PACKAGE)), text)
        for path in PACKAGE.rglob("*.py")
        if MIGRATIONS not in path.parents
        for text in _matched_texts(ast.parse(path.read_text()))
    }


def _is_text(node: ast.expr) -> bool:
    """Whether an expression is an attribute that holds text for people, or falls back to "" from one."""
    if isinstance(node, ast.BoolOp):
        return any(_is_text(value) for value in node.values)
    return isinstance(node, ast.Attribute) and node.attr in TEXTS


def _matched_texts(tree: ast.AST) -> Iterator[str]:
    """Yield the expressions that look for a wording within a text for people."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            is_method = node.func.attr in MATCHES and _is_text(node.func.value)
            is_pattern = node.func.attr in MATCHES and any(_is_text(given) for given in node.args)
            if is_method or is_pattern:
                yield ast.unparse(node.func)
        if isinstance(node, ast.Compare):
            yield from _compared_texts(node)


def _compared_texts(node: ast.Compare) -> Iterator[str]:
    sides = [node.left, *node.comparators]
    is_wording = any(isinstance(side, ast.Constant | ast.JoinedStr | ast.Tuple) for side in sides)
    is_presence = any(isinstance(side, ast.Constant) and side.value in (None, "") for side in sides)
    if is_wording and not is_presence and any(_is_text(side) for side in sides):
        yield ast.unparse(node)


def test_no_wording_is_matched() -> None:
    """Neither in SQL nor in Python, neither the start of a text nor a part or the whole of it."""
    assert _matches_in_the_package() - ALLOWED == set()


def test_what_is_allowed_is_still_there() -> None:
    """An exception that nothing needs any more is taken off the list."""
    assert _matches_in_the_package() >= ALLOWED


def test_a_match_would_be_found() -> None:
    """In the shapes that such matches had before there were codes."""
    for line in (
        'emails.c.error.startswith("kept back: ")',
        '(case.email.error or "").startswith(PREFIX)',
        "events.c.text.contains(MAYBE_SENT)",
        'email.error == "gave up"',
        'email.error in ("lost", "gone")',
        "_STAGE.search(event.text)",
        'email.error.removeprefix("resent as ")',
    ):
        assert list(_matched_texts(ast.parse(line))), line
    assert not list(_matched_texts(ast.parse("email.error is None")))
