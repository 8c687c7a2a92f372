"""An app of a service whose tasks are recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.recorded_app import making_apps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from celery import Celery


@pytest.fixture
def make_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Celery]]:
    """Makes the recorded app of a service, with a delivery log of its own."""
    with making_apps(tmp_path, monkeypatch) as make:
        yield make
