"""A dashboard on a real port, with a delivery log of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl import runtime, web
from mailctl.settings import Settings
from tests.integration.web.site import Site
from tests.web_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """Settings with an empty delivery log."""
    made = Settings(mailctl_home=tmp_path / "home")
    runtime.close()
    runtime.configure(made)
    yield made
    runtime.close()


@pytest.fixture
def site(settings: Settings) -> Iterator[Site]:
    """The dashboard as an application."""
    with serving(web.create_app(settings)) as address:
        yield Site(address)
