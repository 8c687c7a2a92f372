"""What is installed here comes from a package registry: these tests run when they are asked for by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.terminal import Terminal
from tests.packaging.environments import Package

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MARKER = "packaging"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, and skip them unless `-m` names them."""
    is_asked = MARKER in config.getoption("-m")
    folder = f"{Path(__file__).parent}{os.sep}"
    for item in items:
        if str(item.path).startswith(folder):
            item.add_marker(MARKER)
            if not is_asked:
                item.add_marker(pytest.mark.skip(reason="installs packages: pytest -m packaging"))


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The wheel."""
    return Package(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def installed(package: Package, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Opens a terminal in an environment with the package, some extras, and nothing else."""
    opened: list[Terminal] = []

    def install(*extras: str, also: tuple[str, ...] = ()) -> Terminal:
        python = package.install(*extras, also=also)
        folder = tmp_path / "work"
        folder.mkdir()
        opened.append(Terminal(folder, python=python))
        return opened[-1]

    yield install
    for terminal in opened:
        terminal.__exit__()
