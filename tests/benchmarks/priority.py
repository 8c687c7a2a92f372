"""A password reset while a campaign drains."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from mailctl.domain.catalog import RESET
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.request import EmailRequest
from tests.benchmarks.bench import PROCESSES, Bench, Figure, at_most, wait_until
from tests.benchmarks.bulk import record_campaign
from tests.smtp_server import ScriptedSmtpServer, Stall

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.smtp_server import Script

#: Rows that are recorded whenever fewer than these are left.
CAMPAIGN = 20_000
RESETS = 60
#: Seconds between resets.
_PAUSE = 0.25
#: For each number of seconds that the mail server takes for a message, those that 95 of 100 resets may take.
_BARS = {0.0: 1.0, 0.5: 2.0, 1.5: 3.5}


def resets(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """From the call to the mail server's 250."""
    for delay, bar in _BARS.items():
        seconds = _behind_a_campaign(folder / f"{delay}", delay)
        slow = statistics.quantiles(seconds, n=20)[18]
        yield at_most(
            f"reset during a campaign, {delay:g} s a message, p95 ms (other: the bar)", slow, bar, 1.0
        )


def _behind_a_campaign(folder: Path, delay: float) -> list[float]:
    script: Script = {"body": lambda _: Stall(delay)} if delay else {}
    with ScriptedSmtpServer(script) as server, Bench(folder, smtp_port=server.port) as bench:
        server.keeps_log = False
        recorded, seconds = 0, []
        worker = bench.terminal.worker("-c", str(PROCESSES))
        for number in range(RESETS):
            if recorded - len(server.messages) < CAMPAIGN / 2:
                record_campaign(bench, CAMPAIGN)
                recorded += CAMPAIGN
                wait_until(lambda: len(server.messages) > 0)
            seconds.append(_reset(bench, server, number))
        worker.kill()
    return seconds


def _reset(bench: Bench, server: ScriptedSmtpServer, number: int) -> float:
    address = f"reset{number}@example.com"
    content = make_content(RESET, make_user(email=address), origins=bench.runtime.link_origins)
    seen, started = len(server.messages), time.time()
    bench.enqueuer.publish(bench.enqueuer.record(EmailRequest(kind=RESET), [content]).ids)
    while True:
        for message in server.messages[seen:]:
            if message.recipients == (address,):
                time.sleep(_PAUSE)
                return message.at - started
        seen = len(server.messages) if seen < len(server.messages) - 1000 else seen
        time.sleep(0.005)
