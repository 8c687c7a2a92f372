"""The names that `from mailctl import ...` offers."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from types import ModuleType

import pytest

import mailctl
from tests.typing import public_api


def _imports(source: str, *, module: str | None = None) -> set[str]:
    """Return the names that a source imports from one module, or from all modules."""
    return {
        alias.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and (module is None or node.module == module)
        for alias in node.names
    }


def test_every_public_name_is_exported_lazily() -> None:
    """`__all__`, the table of lazy imports and the imports for type checkers agree."""
    assert set(mailctl.__all__) == set(mailctl._EXPORTS)
    assert len(set(mailctl.__all__)) == len(mailctl.__all__)
    for_type_checkers = _imports(inspect.getsource(mailctl)) - {
        "annotations",
        "import_module",
        "TYPE_CHECKING",
    }
    assert for_type_checkers == set(mailctl.__all__)


@pytest.mark.parametrize("name", mailctl.__all__)
def test_every_public_name_resolves(name: str) -> None:
    """Each public name returns the object of that name."""
    found = getattr(mailctl, name)
    defined_as = found.__name__.rpartition(".")[2] if isinstance(found, ModuleType) else found.__name__
    assert defined_as == name


@pytest.mark.parametrize("name", ["alembic", "links", "sync"])
def test_a_module_that_is_exported_can_be_imported_by_its_name(name: str) -> None:
    """As `import mailctl.links` and as `from mailctl.links import verify`; it is the same module."""
    module = importlib.import_module(f"mailctl.{name}")
    assert module is getattr(mailctl, name)
    assert isinstance(module, ModuleType)


@pytest.mark.parametrize("name", ["runtime_settings", "Email", "__wrapped__"])
def test_other_names_are_attribute_errors(name: str) -> None:
    """Unknown names raise AttributeError, on which `hasattr` and imports rely."""
    with pytest.raises(AttributeError, match=name):
        getattr(mailctl, name)


def test_importing_the_package_imports_nothing_else() -> None:
    """The command line starts with this import, so it must load no other module of mailctl."""
    code = "import sys, mailctl; print(*(name for name in sys.modules if name.startswith('mailctl')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["mailctl"]


def test_the_typing_test_uses_every_public_name() -> None:
    """Every export has a use that must type-check."""
    used = _imports(inspect.getsource(public_api), module="mailctl")
    assert used == set(mailctl.__all__)
