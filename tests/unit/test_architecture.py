"""The shape of the package: few parts, one direction of imports, modules of one purpose."""

from __future__ import annotations

import ast
import re

from docs.generators.house import PACKAGE, ROOT, counts, read_house

#: Names that say nothing of what is inside.
GRAB_BAGS = re.compile(r"(^|_)(utils?|helpers?|managers?|misc|common|stuff)(_|$)")
MAX_LINES = 400
MODULES = sorted((ROOT / PACKAGE).rglob("*.py"))


def test_no_parts_import_each_other() -> None:
    """Neither directly nor through others, so that each can be read after what it imports."""
    assert read_house().cycles == frozenset()


def test_the_house_stays_small() -> None:
    """Somebody new can hold it in mind; `python -m docs.generators.house` prints the figures."""
    found = counts()
    assert found["files at the top"] <= 20, found
    assert found["packages"] <= 20, found
    assert found["layers that import-linter checks"] <= 15, found


def test_each_package_says_what_it_is_for() -> None:
    """In the docstring of its `__init__.py`, which is its line in docs/architecture.md."""
    files = [path for path in MODULES if path.name == "__init__.py"]
    assert [path for path in files if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_no_module_is_too_long() -> None:
    """Longer ones hold two nouns."""
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in MODULES
        if "migrations" not in path.parts
    }
    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}


def test_no_module_is_a_grab_bag() -> None:
    """The name of a module says which noun it holds."""
    assert [path for path in MODULES if GRAB_BAGS.search(path.stem)] == []
