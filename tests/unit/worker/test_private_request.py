"""A request for an email task shows no arguments and cannot be revoked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.worker.state import revoked

from mailctl.worker.private_request import PrivateRequest, PrivateTask

if TYPE_CHECKING:
    import pytest


def _send(*_: object, **__: object) -> None:
    """Do nothing."""


def request(**headers: Any) -> PrivateRequest:
    """Return a request that a worker received."""
    app = Celery("private", broker="memory://", set_as_current=False)
    task = app.task(base=PrivateTask, name="send", shared=False)(_send)
    body: tuple[Any, ...] = (["secret"], {"key": "secret"}, {})
    message = SimpleNamespace(
        headers={"id": "a-task", "task": "send", "argsrepr": "secret", **headers},
        properties={},
        delivery_info={"routing_key": "celery"},
        body=body,
        content_type="application/json",
        content_encoding="utf-8",
    )
    return PrivateRequest(
        message, app=app, task=task, body=body, decoded=True, headers=message.headers, hostname="w@host"
    )


def test_no_argument_is_shown() -> None:
    """Neither in logs nor to `inspect`."""
    made = request()
    assert (made.argsrepr, made.kwargsrepr) == ("(redacted)", "(redacted)")
    assert "secret" not in repr(made.info())
    assert made.info()["args"] == "(redacted)"


def test_the_revoked_ids_of_celery_do_not_count() -> None:
    """The relay would publish the email again."""
    revoked.add("a-task")
    try:
        assert not request().revoked()
    finally:
        revoked.discard("a-task")


def test_a_request_to_terminate_is_logged_and_ignored(caplog: pytest.LogCaptureFixture) -> None:
    """The log line names the command that stops an email."""
    request().terminate(pool=None)
    assert "mailctl cancel" in caplog.text
