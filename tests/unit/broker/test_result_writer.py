"""Results are stored as Celery stores them, on Redis together."""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.backends.redis import RedisBackend

from mailctl.broker.result_writer import store_results


class Pipeline:
    """A pipeline of Redis that notes its commands."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, bytes]] = []
        self.round_trips = 0

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def set(self, key: bytes, _value: str, *, ex: int | None) -> None:
        self.commands.append((f"SET {ex}", key))

    def publish(self, key: bytes, _value: str) -> None:
        self.commands.append(("PUBLISH", key))

    def execute(self) -> None:
        self.round_trips += 1


class Backend(RedisBackend):  # type: ignore[misc]
    """Celery's backend, with a client that is not connected."""

    def __init__(self, pipeline: Pipeline) -> None:
        app = Celery("results", set_as_current=False)
        super().__init__(app=app, url="redis://localhost:1/0", expires=60)
        self.client = Client(pipeline)


class Client:
    """A client with one pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def pipeline(self, **_: Any) -> Pipeline:
        return self._pipeline


def test_on_redis_all_results_take_one_round_trip() -> None:
    """Who waits for one of them is told, as by Celery."""
    pipeline = Pipeline()
    store_results(
        Backend(pipeline), [("a", "SUCCESS", {"state": "sent"}), ("b", "FAILURE", ValueError("no"))]
    )
    commands = [(name, key.decode().removeprefix("celery-task-meta-")) for name, key in pipeline.commands]
    assert commands == [("SET 60", "a"), ("PUBLISH", "a"), ("SET 60", "b"), ("PUBLISH", "b")]
    assert pipeline.round_trips == 1


def test_other_backends_store_them_one_by_one() -> None:
    """What they store is what Celery reads."""
    app = Celery("results", backend="cache+memory://", set_as_current=False)
    store_results(app.backend, [("a", "SUCCESS", {"state": "sent"}), ("b", "RETRY", ValueError("later"))])
    assert app.AsyncResult("a").result == {"state": "sent"}
    assert [app.AsyncResult(task_id).state for task_id in ("a", "b")] == ["SUCCESS", "RETRY"]
