"""Procrastinate: one process of 50 concurrent jobs, which share 20 sessions with the mail server."""

from __future__ import annotations

import asyncio
import sys
import time

import aiosmtplib
from procrastinate import App, PsycopgConnector

from tests.benchmarks.peers.email import database_url, make_message, smtp_port

_CONCURRENCY = 50
_SESSIONS = 20

app = App(connector=PsycopgConnector(conninfo=database_url()))
_idle: asyncio.Queue[aiosmtplib.SMTP] = asyncio.Queue()


@app.task(name="send")
async def send(address: str) -> None:
    """Send one email over a session that stays open."""
    session = await _idle.get()
    try:
        if not session.is_connected:
            await session.connect()
        await session.send_message(make_message(address))
    finally:
        _idle.put_nowait(session)


async def _work() -> None:
    for _ in range(_SESSIONS):
        _idle.put_nowait(aiosmtplib.SMTP(hostname="127.0.0.1", port=smtp_port(), start_tls=False))
    async with app.open_async():
        await app.run_worker_async(concurrency=_CONCURRENCY, delete_jobs="never")


async def _prepare() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


async def _record(count: int, at_once: int) -> None:
    """Defer emails, some calls at once, and print how many a second."""
    numbers = list(range(count))

    async def call() -> None:
        while numbers:
            await send.defer_async(address=f"user{numbers.pop()}@example.com")

    async with app.open_async():
        await send.configure(queue="warm-up").defer_async(address="user@example.com")
        started = time.perf_counter()
        await asyncio.gather(*(call() for _ in range(at_once)))
        sys.stdout.write(f"{count / (time.perf_counter() - started):.1f}\n")


if __name__ == "__main__":
    {
        "prepare": lambda: asyncio.run(_prepare()),
        "record": lambda: asyncio.run(_record(int(sys.argv[2]), int(sys.argv[3]))),
        "work": lambda: asyncio.run(_work()),
    }[sys.argv[1]]()
