"""Results that other programs have stored: of any shape, in any state, and none of them stops a command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, states

from mailctl.broker.inspector import BrokerInspector
from mailctl.broker.task_arguments import REFERENCE_ARGUMENT
from mailctl.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.commands import Mailctl
    from tests.servers import RedisServer

STATES = (*sorted(states.ALL_STATES - {states.PENDING}), "PROGRESS")
LONG = "x" * 2_000_000
#: Stored results, and what a failed task is said to have told by them.
SHAPES: dict[str, tuple[Any, str]] = {
    "nothing": (None, ""),
    "a text": ("the printer is on fire", "the printer is on fire"),
    "a very long text": (LONG, LONG[:1000]),
    "a number": (7, "7"),
    "true": (True, "True"),
    "a list": ([1, "two"], "1, two"),
    "a list of pairs": ([["exc_type", "ValueError"]], ""),
    "an empty object": ({}, ""),
    "an object": ({"percent": 40}, ""),
    "an exception": ({"exc_type": "E", "exc_message": ["no", 1], "exc_module": "m"}, "no, 1"),
    "an exception with a text": ({"exc_type": "E", "exc_message": "no"}, "no"),
    "an exception with an object": ({"exc_type": "E", "exc_message": {"a": 1}}, ""),
    "an exception with a very long text": ({"exc_type": "E", "exc_message": LONG}, LONG[:1000]),
    "an exception without a type": ({"exc_message": ["no"]}, "no"),
    "an exception whose type is a number": ({"exc_type": 7, "exc_message": ["no"]}, "no"),
    "an exception whose type is a list": ({"exc_type": ["E"], "exc_module": ["m"]}, ""),
    "an exception whose type has a NUL": ({"exc_type": "E\0", "exc_module": None}, ""),
    "an exception that is a function": (
        {"exc_type": "system", "exc_module": "os", "exc_message": "false"},
        "false",
    ),
    "an exception that ends the process": ({"exc_type": "SystemExit", "exc_module": "builtins"}, ""),
    "an exception that cannot be made": ({"exc_type": "UnicodeDecodeError", "exc_module": "builtins"}, ""),
}
#: Entries that are no results at all.
NO_RESULTS = {
    "a text": b'"x"',
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "an object": b"{}",
    "a state that is a number": b'{"status": 7, "result": null}',
    "a state that is a list": b'{"status": ["x"], "result": null}',
    "a very long state": json.dumps({"status": LONG}).encode(),
    "no UTF-8": b"\xff\xfe",
    "deep": b"[" * 100_000,
}


@pytest.fixture
def results(redis_url: str) -> Iterator[BrokerInspector]:
    """Results on Redis."""
    with Celery("results", broker=redis_url, backend=redis_url, set_as_current=False) as app:
        yield BrokerInspector(app)
        app.backend.client.close()


def store(redis_server: RedisServer, entries: dict[str, bytes]) -> None:
    """Store entries as results of tasks."""
    with redis_server.client() as client:
        client.mset({f"celery-task-meta-{task_id}": entry for task_id, entry in entries.items()})


def entry(state: str, result: Any) -> bytes:
    return json.dumps({"status": state, "result": result, "traceback": None, "children": []}).encode()


@pytest.mark.parametrize("state", STATES)
def test_a_result_of_any_shape_is_read(
    state: str, results: BrokerInspector, redis_server: RedisServer
) -> None:
    """Its state is told, and what it says if the task failed; no class that it names is called."""
    store(redis_server, {shape: entry(state, result) for shape, (result, _) in SHAPES.items()})
    for shape, (_, said) in SHAPES.items():
        found = results.task_result(shape)
        assert found is not None
        assert (found.state, found.text) == (state, said if state in states.EXCEPTION_STATES else ""), shape
        assert not found.is_from_mailctl


def test_results_of_ours_are_known(results: BrokerInspector, redis_server: RedisServer) -> None:
    """Those of emails that were sent name the log's row, the others the exception."""
    deferred = {"exc_type": "EmailDeferred", "exc_message": ["later"], "exc_module": "mailctl.tasks"}
    store(
        redis_server,
        {"sent": entry("SUCCESS", {REFERENCE_ARGUMENT: 1}), "later": entry("RETRY", deferred)},
    )
    for task_id in ("sent", "later"):
        found = results.task_result(task_id)
        assert found is not None
        assert found.is_from_mailctl


def test_what_is_no_result_is_said_to_be_none(results: BrokerInspector, redis_server: RedisServer) -> None:
    """The backend did answer; what it has for a task that waits is nothing."""
    store(redis_server, NO_RESULTS | {"pending": entry("PENDING", None)})
    for name in NO_RESULTS:
        found = results.task_result(name)
        assert found is not None
        assert found.state == "UNREADABLE", name
        assert results.successful_result(name) is None
    assert results.task_result("pending") is None
    assert results.task_result("unheard of") is None


def test_rows_of_a_database_are_read_alike(tmp_path: Path) -> None:
    """Other backends convert what they have stored elsewhere."""
    with Celery("results", backend=f"db+sqlite:///{tmp_path}/results.db", set_as_current=False) as app:
        app.backend.store_result("a-task", "not now", "RETRY")
        found = BrokerInspector(app).task_result("a-task")
        session = app.backend.ResultSession()
        engine = session.get_bind()
        session.close()
        engine.dispose()
    assert found is not None
    assert (found.state, found.text) == ("RETRY", "not now")


def test_commands_tell_such_a_result(
    mailctl: Mailctl, redis_url: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the state that the other program has stored, and without a traceback."""
    monkeypatch.setenv("DEBUG", "False")
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("SECRET_KEY", "a-secret-key-of-more-than-32-characters")
    shapes = {"retry": ("RETRY", "not now"), "failure": ("FAILURE", [1]), "success": ("SUCCESS", 7)}
    store(redis_server, {name: entry(*each) for name, each in shapes.items()} | {"odd": NO_RESULTS["deep"]})
    for name, state in [(name, state) for name, (state, _) in shapes.items()] + [("odd", "UNREADABLE")]:
        for command in ("status", "why"):
            ran = mailctl(command, name)
            assert ran.code in (ExitCode.DONE, ExitCode.FAILED), (name, command, ran.err)
            assert "Traceback" not in ran.out + ran.err
            assert "does not answer" not in ran.out + ran.err
            assert state in ran.out
    assert "not now" in mailctl("status", "retry").out
