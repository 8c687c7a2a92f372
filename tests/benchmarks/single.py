"""One email: from the call to the mail server, and what the call costs a web request."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celery import Celery

from mailctl import EmailService, runtime
from mailctl.settings import Settings
from tests.benchmarks.bench import PROCESSES, Bench, Figure, at_least, at_most, in_rounds
from tests.benchmarks.pooled import QUEUE
from tests.servers import PostgresServer
from tests.smtp_server import ScriptedSmtpServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.acceptance.terminal import Terminal

EMAILS = 40
#: Enough for a p99 that another run repeats: one call in a hundred meets a slow moment of the machine.
REQUESTS = 1000
#: Seconds that everything is idle between two emails.
_PAUSE = 0.1
#: Seconds that an email may take on a memory broker.
_LONGEST_IN_MEMORY = 0.4


@dataclass(frozen=True)
class _User:
    id: int
    email: str
    username: str = "ada"


def latency(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """From the call to the mail server's 250, in an idle system: the median."""
    yield from _latency_on_redis(folder / "sqlite", "SQLite", 1.3, rounds=rounds)
    with PostgresServer(is_durable=True) as database:
        url = database.make_database()
        yield from _latency_on_redis(folder / "postgresql", "PostgreSQL", 2.0, log_url=url, rounds=rounds)
    with ScriptedSmtpServer() as server, Bench(folder / "memory", smtp_port=server.port) as bench:
        bench.terminal.set(DEBUG="True", REDIS_URL="")
        worker = bench.terminal.worker()
        in_memory = in_rounds(lambda: _ours(bench.terminal, server), rounds=rounds)
        worker.stop()
    yield at_most("one email on memory://, ms (other: the bar)", in_memory, _LONGEST_IN_MEMORY, 1.0)


def _latency_on_redis(
    folder: Path, log: str, bar: float, *, log_url: str | None = None, rounds: int
) -> Iterator[Figure]:
    with (
        ScriptedSmtpServer() as server,
        Bench(folder, log_url=log_url, smtp_port=server.port) as bench,
        _bare(bench, server) as bare,
    ):
        worker = bench.terminal.worker("-c", str(PROCESSES))
        # By turns, because the machine's speed changes.
        turns = [(_ours(bench.terminal, server), bare()) for _ in range(rounds)]
        worker.stop()
    ours, others = zip(*turns, strict=True)
    yield at_most(f"one email on Redis, {log}, ms (other: bare delay)", ours, others, bar)


def request(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """What a call costs a web request, 99 of 100 times, without waiting for the disk, as Redis does not."""
    with Bench(folder, settings={"MAILCTL_DURABILITY": "relaxed"}) as bench:
        bench.terminal.set(MAILCTL_MESSAGES="reference")  # as where workers share the log
        # By turns, because the machine's speed changes.
        turns = [_turn(bench) for _ in range(rounds)]
    delay, up, down = zip(*turns, strict=True)
    yield at_most("relaxed call, p99 ms (other: bare delay)", up, delay, 1.0)
    yield at_most("the same, broker down, p99 ms (other: up)", down, up, 1.5)


def recording(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """Calls of one process that come together, with those that come one after the other, in PostgreSQL."""
    with PostgresServer() as server, Bench(folder, log_url=server.make_database()) as bench:
        bench.terminal.set(MAILCTL_MESSAGES="reference")
        # By turns, because the machine's speed changes.
        turns = [[_calls_a_second(bench, at_once=at_once) for at_once in (20, 1)] for _ in range(rounds)]
    together, alone = zip(*turns, strict=True)
    yield at_least("calls, 20 at once, calls/s (other: one by one)", together, alone, 2)


def _calls_a_second(bench: Bench, *, at_once: int) -> float:
    arguments = ("-m", "tests.benchmarks.recording", str(REQUESTS), str(at_once))
    process = bench.python(*arguments, **bench.terminal.settings_in_force())
    return float(process.communicate()[0])


def _turn(bench: Bench) -> tuple[float, float, float]:
    """Return what a call costs: Celery's own, ours, and ours while the broker is down."""
    delay, up = time_calls(bench, "delay"), time_calls(bench, "mailctl")
    bench.redis.stop()
    down = time_calls(bench, "mailctl")
    bench.redis.start()
    return delay, up, down


def time_calls(bench: Bench, side: str, *, redis_url: str | None = None) -> float:
    """Return the 99th percentile of what a call costs a web request, in seconds.

    Args:
        side: whose call: `mailctl` or `delay`.
        redis_url: of another Redis than that of the bench.
    """
    values = bench.terminal.settings_in_force() | ({"REDIS_URL": redis_url} if redis_url else {})
    process = bench.python("-m", "tests.benchmarks.request", side, str(REQUESTS), **values)
    return float(process.communicate()[0].split()[0])


def _ours(terminal: Terminal, server: ScriptedSmtpServer) -> float:
    runtime.configure(Settings.load(terminal.folder / ".env"))

    async def send_all() -> float:
        seconds = []
        for number in range(EMAILS):
            user = _User(id=number, email=f"user{number}@example.com")
            started = time.time()
            await EmailService.send_welcome_email(user)
            seconds.append(await asyncio.to_thread(_accepted_at, server, user.email) - started)
            await asyncio.sleep(_PAUSE)
        return statistics.median(seconds)

    try:
        return asyncio.run(send_all())
    finally:
        runtime.close()


@contextmanager
def _bare(bench: Bench, server: ScriptedSmtpServer) -> Iterator[Callable[[], float]]:
    environment = {"POOLED_REDIS": bench.redis.url, "POOLED_PORT": str(server.port)}
    options = ("-c", str(PROCESSES), "-l", "ERROR", "--without-gossip", "--without-mingle", "-Q", QUEUE)
    worker = bench.python("-m", "celery", "-A", "tests.benchmarks.pooled", "worker", *options, **environment)
    client = Celery("client", broker=bench.redis.url, backend=bench.redis.url, set_as_current=False)

    def send_all() -> float:
        return statistics.median(_each(lambda address: _delay(client, address), server))

    try:
        send_all()  # the worker starts meanwhile
        yield send_all
    finally:
        worker.terminate()
        worker.wait()
        client.close()


def _each(send: Callable[[str], None], server: ScriptedSmtpServer) -> Iterator[float]:
    for number in range(EMAILS):
        address = f"user{number}@example.com"
        started = time.time()
        send(address)
        yield _accepted_at(server, address) - started
        time.sleep(_PAUSE)


def _delay(client: Celery, address: str) -> None:
    message = f"Subject: Welcome\r\nTo: {address}\r\n\r\n" + "x" * 70 + "\r\n"
    client.send_task("pooled.send", [address, message * 100], queue=QUEUE)


def _accepted_at(server: ScriptedSmtpServer, address: str) -> float:
    """Return when the only message that was accepted since the last call was accepted."""
    [message] = server.wait_for(1, timeout=30)
    assert message.recipients == (address,)
    server.messages.clear()
    return message.at
