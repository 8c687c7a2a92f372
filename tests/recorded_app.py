"""The app of a service whose own tasks are recorded: with a memory broker, and a delivery log of its own."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from celery import Celery, Task, signals
from celery.utils.dispatch import Signal
from sqlalchemy import select

from mailctl import record_tasks, runtime
from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.tables import emails
from mailctl.recorder import writer
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

    from mailctl.domain.models import Email

_TASKS = {"shop.send": {"kind": "notice", "address": "to", "user_id": "user"}}
_SIGNALS = [each for each in vars(signals).values() if isinstance(each, Signal)]


@contextmanager
def making_apps(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Celery]]:
    """Yield a function that makes a recorded app, with these settings; then forget what was connected.

    Args:
        home: the folder of the delivery log.
        monkeypatch: takes back the module of MAILCTL_TASKS.
    """
    module = ModuleType("recorder_shop")
    module.TASKS = _TASKS  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "recorder_shop", module)

    def make(**values: Any) -> Celery:
        given = {"mailctl_home": home, "mailctl_tasks": "recorder_shop:TASKS"} | values
        settings = Settings(**given)
        app = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
        runtime.configure(settings, app=app)
        record_tasks(app, settings=settings)
        return app

    connected = {signal: list(signal.receivers) for signal in _SIGNALS}
    yield make
    for signal, receivers in connected.items():
        signal.receivers[:] = receivers
        signal.sender_receivers_cache.clear()
    writer.close()
    writer._health.pop()
    runtime.close()


def define_send(app: Celery, run: Callable[..., Any] | None = None, **options: Any) -> Task:
    """Define the task of the service, which returns the address unless `run` says what it does."""

    def send(to: str, user: object = None) -> str:
        return to

    return app.task(name="shop.send", shared=False, **options)(run or send)


def recorded() -> list[Email]:
    """Return the emails of the delivery log, once everything is written."""
    writer.flush()
    parts = runtime.current()
    with reading(parts.engine) as connection:
        ids = connection.execute(select(emails.c.id)).scalars().all()
    return parts.history.emails(ids)
