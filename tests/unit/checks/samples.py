"""Settings, modules, workers and findings for the tests of checks."""

from __future__ import annotations

import importlib
import sqlite3
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import SecretStr

from mailctl.checks.finding import FindingStatus
from mailctl.settings import Settings
from tests import workers

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path

    import pytest

    from mailctl.checks.finding import Finding
    from mailctl.delivery_log.heartbeats import Worker

OK, WARN, FAIL, SKIP = FindingStatus
_T = TypeVar("_T")


def by_name(findings: Iterable[Finding]) -> dict[str, Finding]:
    """Return the findings of one group by their names."""
    return {finding.name: finding for finding in findings}


def run_to_end(check: Generator[Finding, None, _T]) -> tuple[dict[str, Finding], _T]:
    """Return the findings of a check by their names, and its result."""
    findings: list[Finding] = []
    while True:
        try:
            findings.append(next(check))
        except StopIteration as end:
            return by_name(findings), end.value


def production(**changes: Any) -> Settings:
    """Return settings for production without any fault, except for `changes`."""
    sound: dict[str, Any] = {
        "debug": False,
        "celery_queue_default": "mailctl",
        "secret_key": SecretStr("a-secret-key-of-the-service-that-is-long"),
        "frontend_url": "https://app.example.org",
        "email_enabled": True,
        "email_host": "mail.example.org",
        "email_from_address": "noreply@shop.internal",
        "project_name": "Shop",
    }
    return Settings(**{**sound, **changes})


def worker(*queues: str, at: datetime | None = None, **more: Any) -> Worker:
    """Return a worker of the host `here.example.org`, seen just now, that consumes some queues."""
    here = {"name": "celery@here", "host": "here.example.org"}
    return workers.worker(at or datetime.now(UTC), queues=queues, **{**here, **more})


def write_module(name: str, source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a module of the service that is forgotten after the test; return its name."""
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    importlib.invalidate_caches()
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def execute(path: Path, statement: str) -> list[Any]:
    """Execute a statement on a SQLite file; return its rows."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()
