"""The dashboard on a log of a million emails, and a service under load whose Redis comes back empty."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING

import httpx

from mailctl import runtime, web
from tests.acceptance.service import running_service
from tests.benchmarks.bench import PROCESSES, Bench, Figure, median, wait_until
from tests.benchmarks.growth import LARGE, filled
from tests.servers import PostgresServer
from tests.smtp_server import ScriptedSmtpServer
from tests.web_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: What a page of 100 rows may take.
MOST_BYTES, MOST_SECONDS = 100_000, 0.2
#: Sign-ups a second, and for how many seconds; in the middle Redis is started again, empty.
RATE, SECONDS = 100, 30
_PATIENCE = 30.0
#: Seconds that an idle connection is kept: the server keeps it for 5.
_KEEP_SECONDS = 2.0
_LISTS = {"list": "/emails", "failed": "/emails?state=failed", "api": "/api/emails"}


def pages(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """What a list page of 100 rows weighs, and takes at the server."""
    log = filled(folder / "log", LARGE)
    settings, key = log.settings, log.api_keys.create("benchmark").plaintext
    log.close()
    runtime.close()
    runtime.configure(settings)
    headers = {"Authorization": f"Bearer {key}"}
    with (
        serving(web.create_app(settings)) as address,
        httpx.Client(base_url=address, headers=headers, timeout=60) as client,
    ):
        for name, path in _LISTS.items():
            size = len(client.get(path).raise_for_status().content)
            seconds = median(lambda: _seconds(client, path), rounds=rounds)  # noqa: B023 - called at once
            yield _within(f"{name}: 100 of 1,000,000 rows, bytes", size, MOST_BYTES, scale=1)
            yield _within(f"{name}: 100 of 1,000,000 rows, ms", seconds, MOST_SECONDS, scale=1000)
    runtime.close()


def sign_ups(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """Sign-ups at a steady rate while Redis is started again, empty; users and log in PostgreSQL."""
    with PostgresServer() as database:
        url = database.make_database()
        with ScriptedSmtpServer() as server, Bench(folder, log_url=url, smtp_port=server.port) as bench:
            server.keeps_log = False
            bench.terminal.set(DATABASE_URL=url)
            # Its own address would be that of the reader's computer, to which no link may lead.
            bench.terminal.environment |= {"FRONTEND_URL": "https://shop.example"}
            with running_service(bench.terminal) as service:
                bench.terminal.worker("-c", str(PROCESSES))
                took, statuses = asyncio.run(_load(str(service.base_url), bench))
                wait_until(lambda: len(server.messages) >= statuses[201])
            copies = Counter(message.recipients[0] for message in server.messages)
    took.sort()
    count = RATE * SECONDS
    yield _within("sign-ups: p99, ms (1 s allowed)", took[len(took) * 99 // 100], 1.0, scale=1000)
    yield _within("sign-ups: median, ms (1 s allowed)", took[len(took) // 2], 1.0, scale=1000)
    for status in statuses.keys() - {201}:
        yield _exactly(f"sign-ups: ended with {status}", statuses[status], 0)
    yield _exactly("sign-ups: answered with 201", statuses[201], count)
    yield _exactly("sign-ups: people with exactly one email", list(copies.values()).count(1), count)


async def _load(address: str, bench: Bench) -> tuple[list[float], Counter[int | str]]:
    took: list[float] = []
    statuses: Counter[int | str] = Counter()
    # Let go before the server does, which otherwise closes connections that a request has just taken.
    limits = httpx.Limits(max_connections=RATE, keepalive_expiry=_KEEP_SECONDS)
    async with httpx.AsyncClient(base_url=address, timeout=_PATIENCE, limits=limits) as client:

        async def sign_up(number: int) -> None:
            started = time.perf_counter()
            who = {"email": f"user{number}@example.com", "username": f"user{number}"}
            try:
                answer = await client.post("/sign-up", json=who)
                statuses[answer.status_code] += 1
            except httpx.HTTPError as error:
                statuses[type(error).__name__] += 1
            took.append(time.perf_counter() - started)

        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(RATE * SECONDS):
                await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
                group.create_task(sign_up(number))
                if number == RATE * SECONDS // 2:
                    group.create_task(asyncio.to_thread(_empty, bench))
    return took, statuses


def _empty(bench: Bench) -> None:
    bench.redis.kill()
    bench.redis.start()


def _seconds(client: httpx.Client, path: str) -> float:
    started = time.perf_counter()
    client.get(path).raise_for_status()
    return time.perf_counter() - started


def _within(name: str, ours: float, most: float, *, scale: float) -> Figure:
    return Figure(
        name=name,
        ours=f"{ours * scale:,.0f}",
        other=f"{most * scale:,.0f}",
        ratio=ours / most,
        bar="<= 1",
        is_met=ours <= most,
    )


def _exactly(name: str, ours: int, wanted: int) -> Figure:
    return Figure(
        name=name,
        ours=f"{ours:,}",
        other=f"{wanted:,}",
        ratio=ours / max(wanted, 1),
        bar=f"== {wanted:,}",
        is_met=ours == wanted,
    )
