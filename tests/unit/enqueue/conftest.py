"""A runtime without files or servers: its delivery log is empty, in memory and read-only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.unit.enqueue.publishing import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celery import Celery


class MakeRuntime(Protocol):
    """Makes runtimes from settings."""

    def __call__(self, *, app: Celery | None = None, **settings: Any) -> Runtime:
        """Return a new runtime."""


@pytest.fixture
def make_runtime(tmp_path: Path) -> Iterator[MakeRuntime]:
    """A function that makes runtimes, which are closed after the test."""
    made: list[Runtime] = []

    def make(*, app: Celery | None = None, **settings: Any) -> Runtime:
        runtime = Runtime(
            Settings(mailctl_home=tmp_path / "none", **settings), app=app, access_mode=AccessMode.OPTIONAL
        )
        made.append(runtime)
        return runtime

    yield make
    for runtime in made:
        runtime.close()


@pytest.fixture
def runtime(make_runtime: MakeRuntime) -> Runtime:
    """A runtime in development."""
    return make_runtime()


@pytest.fixture
def site(runtime: Runtime) -> Iterator[Site]:
    """A publisher whose queue a worker of the same delivery log consumes."""
    site = Site(runtime)
    yield site
    site.close()
