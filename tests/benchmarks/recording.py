"""Recording single emails from one process, twenty calls at once: prints calls a second."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass

from mailctl import EmailService

_AT_ONCE = 20
_WARM_UP = 20


@dataclass(frozen=True)
class _User:
    id: int
    email: str
    username: str = "ada"


async def _call(numbers: list[int]) -> None:
    while numbers:
        number = numbers.pop()
        await EmailService.send_welcome_email(_User(id=number, email=f"user{number}@example.com"))


async def _record(count: int, *, at_once: int) -> float:
    numbers = list(range(count))
    started = time.perf_counter()
    await asyncio.gather(*(_call(numbers) for _ in range(at_once)))
    return count / (time.perf_counter() - started)


async def _main(count: int, at_once: int) -> None:
    await _record(_WARM_UP, at_once=1)
    sys.stdout.write(f"{await _record(count, at_once=at_once):.1f}\n")


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2])))
