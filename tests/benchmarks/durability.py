"""What durability costs: a call, recording and sending, with MAILCTL_DURABILITY=durable and relaxed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.benchmarks.bench import Bench, Figure, at_least, at_most
from tests.benchmarks.bulk import ROWS, record_campaign, send_campaigns
from tests.benchmarks.single import time_calls
from tests.servers import PostgresServer, RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def compared(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """Both settings on both databases, and a call beside `.delay()` to a Redis that is as durable."""
    yield from _on(folder / "sqlite", "SQLite", rounds=rounds)
    with PostgresServer(is_durable=True) as server:
        yield from _on(folder / "postgresql", "PostgreSQL", server, rounds=rounds)


def _on(folder: Path, name: str, server: PostgresServer | None = None, *, rounds: int) -> Iterator[Figure]:
    with (
        _bench(folder / "durable", "durable", server) as durable,
        _bench(folder / "relaxed", "relaxed", server) as relaxed,
        RedisServer(folder / "redis", persistent=True) as redis,
    ):
        # By turns, because the machine's speed changes.
        calls = [
            (
                time_calls(durable, "mailctl"),
                time_calls(durable, "delay", redis_url=redis.url),
                time_calls(relaxed, "mailctl"),
            )
            for _ in range(rounds)
        ]
        rows = [
            tuple(ROWS / record_campaign(each, ROWS) for each in (durable, relaxed)) for _ in range(rounds)
        ]
    with _bench(folder / "relaxed-bulk", "relaxed", server) as relaxed:
        relaxed_bulk = send_campaigns(relaxed, rounds)
    with _bench(folder / "durable-bulk", "durable", server) as durable:
        durable_bulk = send_campaigns(durable, rounds)
    ours, delay, relaxed_call = zip(*calls, strict=True)
    yield at_most(f"call, {name}, p99 ms (other: durable delay)", ours, delay, 1.0)
    yield at_most(f"call, {name}, p99 ms (other: relaxed)", ours, relaxed_call, 4)
    yield at_least(f"enqueue, {name}, rows/s (other: relaxed)", *zip(*rows, strict=True), 0.8)
    yield at_least(f"bulk, {name}, emails/s (other: relaxed)", durable_bulk, relaxed_bulk, 0.8)


@contextmanager
def _bench(folder: Path, durability: str, server: PostgresServer | None) -> Iterator[Bench]:
    with Bench(
        folder, log_url=server and server.make_database(), settings={"MAILCTL_DURABILITY": durability}
    ) as bench:
        yield bench
