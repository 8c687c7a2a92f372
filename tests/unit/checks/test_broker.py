"""Checks of the broker and the result backend that need no server."""

from __future__ import annotations

from pydantic import SecretStr

from mailctl.celery_app import create_celery_app
from mailctl.checks.broker import check_broker
from mailctl.settings import Settings
from tests.unit.checks.samples import OK, SKIP, production, run_to_end


def test_a_memory_broker_is_private_and_answers() -> None:
    """So is the result backend; there is nothing to evict."""
    found, broker = run_to_end(check_broker(create_celery_app(Settings()), offline=True))
    assert {name: finding.status for name, finding in found.items()} == {"broker": OK, "results": OK}
    assert all("private to each process" in finding.detail for finding in found.values())
    assert broker is not None


def test_offline_no_server_is_asked() -> None:
    """Each check that would ask one is skipped."""
    app = create_celery_app(production(redis_url=SecretStr("redis://cache.example.org/0")))
    found, broker = run_to_end(check_broker(app, offline=True))
    assert {name: finding.detail for name, finding in found.items()} == {
        "broker": "offline",
        "results": "offline",
    }
    assert broker is None


def test_without_an_app_there_is_no_broker() -> None:
    """The check of the app says why."""
    found, broker = run_to_end(check_broker(None, offline=False))
    assert (found["broker"].status, broker) == (SKIP, None)
