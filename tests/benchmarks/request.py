"""What one call costs a web request: prints p99 and median of `mailctl` or `delay`, so many calls."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celery import Celery

from mailctl import EmailService

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: Seconds between requests: fifty a second in one process.
_PAUSE = 0.02
_WARM_UP = 20


@dataclass(frozen=True)
class _User:
    id: int
    email: str
    username: str = "ada"


async def _by_mailctl(number: int) -> None:
    await EmailService.send_welcome_email(_User(id=number, email=f"user{number}@example.com"))


def _by_delay() -> Callable[[int], Awaitable[None]]:
    url = os.environ["REDIS_URL"]
    client = Celery("client", broker=url, backend=url, set_as_current=False)

    @client.task(name="nobody.listens", shared=False)  # type: ignore[untyped-decorator]
    def send(address: str, name: str) -> None:
        """Only its signature is needed here."""

    async def call(number: int) -> None:
        send.delay(f"user{number}@example.com", "Ada")

    return call


async def _measure(call: Callable[[int], Awaitable[None]], count: int) -> list[float]:
    seconds = []
    for number in range(count + _WARM_UP):
        started = time.perf_counter()
        await call(number)
        seconds.append(time.perf_counter() - started)
        await asyncio.sleep(_PAUSE)
    return seconds[_WARM_UP:]


async def _main(side: str, count: int) -> None:
    if side == "mailctl":
        await EmailService.prepare()
    seconds = await _measure(_by_mailctl if side == "mailctl" else _by_delay(), count)
    print(statistics.quantiles(seconds, n=100)[98], statistics.median(seconds), flush=True)
    if side == "mailctl":
        await EmailService.close()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
