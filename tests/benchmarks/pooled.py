"""The least that Celery can do: a task that sends a ready message over a session that stays open."""

from __future__ import annotations

import asyncio
import os
import threading
from functools import cache

import aiosmtplib
from celery import Celery

URL = os.environ.get("POOLED_REDIS", "")
#: Not that of mailctl's worker, which runs beside this one.
QUEUE = "pooled"

app = Celery("pooled", broker=URL, backend=URL)
app.conf.worker_hijack_root_logger = False


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop


@cache
def _session() -> aiosmtplib.SMTP:
    session = aiosmtplib.SMTP(hostname="127.0.0.1", port=int(os.environ["POOLED_PORT"]), start_tls=False)
    asyncio.run_coroutine_threadsafe(session.connect(), _loop()).result()
    return session


@app.task(name="pooled.send", shared=False)
def send(address: str, message: str) -> None:
    """Send one ready message."""
    sending = _session().sendmail("app@example.com", [address], message)
    asyncio.run_coroutine_threadsafe(sending, _loop()).result()
