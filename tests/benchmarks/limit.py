"""The limit: one ready-made message, sent again and again over sessions that stay open."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import aiosmtplib

SESSIONS = 4


async def _session(port: int, data: bytes, count: int) -> None:
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False)
    await client.connect()
    for _ in range(count):
        await client.sendmail("app@example.com", ["ada@example.com"], data)
    await client.quit()


async def _send(port: int, data: bytes, count: int) -> float:
    started = time.perf_counter()
    await asyncio.gather(*(_session(port, data, count // SESSIONS) for _ in range(SESSIONS)))
    return time.perf_counter() - started


if __name__ == "__main__":
    print(asyncio.run(_send(int(sys.argv[1]), Path(sys.argv[2]).read_bytes(), int(sys.argv[3]))))
