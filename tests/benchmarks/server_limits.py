"""Mail servers that allow few sessions or messages: throughput beside what they allow, and refusals."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from typing import TYPE_CHECKING

import aiosmtplib

from mailctl.domain.catalog import WELCOME
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.request import EmailRequest
from tests.benchmarks.bench import Bench, Figure, at_least, at_most, skipped, wait_until
from tests.benchmarks.bulk import sent
from tests.servers.postfix import Postfix, missing_for_postfix
from tests.servers.streams import StreamListener
from tests.smtp_server import ScriptedSmtpServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Sessions that Postfix allows, and seconds that it takes for each message: its sessions are the limit then,
#: not this computer.
_SESSIONS = {1: 0.05, 3: 0.1, 10: 0.3}
_EMAILS = 1000
#: Pool processes that start at the same instant.
_PROCESSES = (4, 12)
_MESSAGES_A_SECOND = 5
_SETTING, _SETTING_EMAILS = "20/s", 800
_WINDOW_SECONDS = 10.0
#: What Postfix logs with each refusal.
_TOO_MANY_SESSIONS, _TOO_MANY_MESSAGES = "concurrency limit exceeded", "delivery request rate limit exceeded"
_BAR, _MOST_REFUSALS, _MOST_OF_RATE = 0.9, 10.0, 1.1


def few_sessions(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """Postfix that allows few sessions, and worker processes that all start at the same instant."""
    for processes, (allowed, seconds) in itertools.product(_PROCESSES, _SESSIONS.items()):
        name = f"{allowed} sessions, {processes} processes"
        if missing := missing_for_postfix():
            yield skipped(name, missing)
            continue
        limited = {"smtpd_client_connection_count_limit": str(allowed)}
        ours, limits, refusals = [], [], []
        for turn in range(rounds):
            with (
                _slow_postfix(limited, seconds) as postfix,
                _bench(folder / f"{processes}-{allowed}-{turn}", postfix.port) as bench,
            ):
                limits.append(asyncio.run(_raw_rate(postfix.port, allowed)))
                ours.append(_rate(bench, _EMAILS, processes=processes))
                refusals.append(1000 * postfix.maillog.count(_TOO_MANY_SESSIONS) / _EMAILS)
        yield at_least(f"{name}, /s (other: as many raw sessions)", ours, limits, _BAR)
        yield at_most(f"{name}, refusals per 1,000", refusals, _MOST_REFUSALS, 1.0, scale=1)


def few_messages(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """Postfix that takes few messages a second, and says nothing about it before it refuses one."""
    name = f"{_MESSAGES_A_SECOND} messages a second"
    if missing := missing_for_postfix():
        yield skipped(name, missing)
        return
    limited = {
        # Postfix counts whole seconds, and begins anew after more than one: it counts over two.
        "smtpd_client_message_rate_limit": str(2 * _MESSAGES_A_SECOND),
        "anvil_rate_time_unit": "1s",
    }
    ours, refusals = [], []
    for turn in range(rounds):
        with _postfix(limited) as postfix, _bench(folder / f"rate-{turn}", postfix.port) as bench:
            ours.append(_rate(bench, _EMAILS, processes=_PROCESSES[0]))
            refusals.append(1000 * postfix.maillog.count(_TOO_MANY_MESSAGES) / _EMAILS)
    yield at_least(f"{name}, /s (other: the limit)", ours, float(_MESSAGES_A_SECOND), _BAR)
    yield at_most(f"{name}, refusals per 1,000", refusals, _MOST_REFUSALS, 1.0, scale=1)


def rates_of_settings(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """MAILCTL_RATE and MAILCTL_RATE_PER_DOMAIN: kept on average, and in no ten seconds much more."""
    for setting, value in (("MAILCTL_RATE", _SETTING), ("MAILCTL_RATE_PER_DOMAIN", f"*={_SETTING}")):
        rate = float(_SETTING.removesuffix("/s"))
        averages, most = [], []
        for turn in range(rounds):
            with (
                ScriptedSmtpServer() as server,
                _bench(folder / f"{setting}-{turn}", server.port, **{setting: value}) as bench,
            ):
                server.keeps_log = False
                _rate(bench, _SETTING_EMAILS, processes=_PROCESSES[0])
                times = sorted(message.at for message in server.messages)
            averages.append((len(times) - 1) / (times[-1] - times[0]))
            most.append(_most_in_window(times) / _WINDOW_SECONDS)
        yield at_least(f"{setting}={value}, /s (other: the rate)", averages, rate, _BAR)
        yield at_most(f"{setting}={value}, most in 10 s, /s", most, rate, _MOST_OF_RATE, scale=1)


def _most_in_window(times: list[float]) -> int:
    return max(sum(begin <= at < begin + _WINDOW_SECONDS for at in times) for begin in times)


@contextlib.contextmanager
def _bench(folder: Path, port: int, **settings: str) -> Iterator[Bench]:
    with Bench(folder, smtp_port=port, settings=settings) as bench:
        yield bench


def _rate(bench: Bench, emails: int, *, processes: int) -> float:
    """Return emails a second, from the first that is accepted to the last; all wait before workers start."""
    contents = [
        make_content(WELCOME, make_user(email=f"user{n}@example.com"), origins=bench.runtime.link_origins)
        for n in range(emails)
    ]
    bench.enqueuer.publish(bench.enqueuer.record(EmailRequest(kind=WELCOME), contents).ids)
    worker = bench.terminal.worker("-c", str(processes))
    wait_until(lambda: sent(bench) > 0, every=0.02)
    before, started = sent(bench), time.perf_counter()
    wait_until(lambda: sent(bench) >= emails, every=0.05)
    seconds = time.perf_counter() - started
    worker.stop()
    return (emails - before) / seconds


async def _raw_rate(port: int, sessions: int) -> float:
    """Return emails a second of sessions that send one message again and again, and do nothing else."""
    each, data = 50, b"Subject: raw\r\nMessage-ID: <raw@example.com>\r\n\r\nraw\r\n"

    async def send() -> None:
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False)
        await client.connect()
        for _ in range(each):
            await client.sendmail("app@example.com", ["ada@example.com"], data)
        await client.quit()

    started = time.perf_counter()
    await asyncio.gather(*(send() for _ in range(sessions)))
    return each * sessions / (time.perf_counter() - started)


@contextlib.contextmanager
def _postfix(settings: dict[str, str]) -> Iterator[Postfix]:
    """Postfix that throws away what it accepts."""
    thrown_away = {"relayhost": "", "transport_maps": "", "default_transport": "discard"}
    counted = {"smtpd_client_event_limit_exceptions": ""}
    with Postfix(0, "", domain="bounces.invalid", settings=thrown_away | counted | settings) as postfix:
        yield postfix


@contextlib.contextmanager
def _slow_postfix(settings: dict[str, str], seconds: float) -> Iterator[Postfix]:
    """Postfix that throws away what it accepts, after a policy service has thought about it for a while."""
    with _policy_service(seconds) as port:
        asks = {"smtpd_end_of_data_restrictions": f"check_policy_service inet:127.0.0.1:{port}"}
        with _postfix(asks | settings) as postfix:
            yield postfix


@contextlib.contextmanager
def _policy_service(seconds: float) -> Iterator[int]:
    """Start a policy service of Postfix that has no objections, but takes its time; yields its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):  # Postfix has hung up
            while await reader.readuntil(b"\n\n"):
                await asyncio.sleep(seconds)
                writer.write(b"action=dunno\n\n")

    async def serve() -> None:
        nonlocal port
        listener = StreamListener(answer, ssl_context=None, limit=2**16)
        listener.open(("127.0.0.1", 0))
        port = listener.port
        ready.set()
        while not done.is_set():  # noqa: ASYNC110 - the other thread ends it
            await asyncio.sleep(0.1)
        await listener.close()

    port, ready, done = 0, threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield port
    finally:
        done.set()
        thread.join()
