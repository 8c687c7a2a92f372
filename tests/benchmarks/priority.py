"""A password reset while a campaign drains."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from mailctl.domain.catalog import RESET, WELCOME
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.recipient_list import RecipientRow
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.campaign import CampaignRecorder
from tests.benchmarks.bench import PROCESSES, Bench, Figure, at_most, wait_until
from tests.smtp_server import ScriptedSmtpServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CAMPAIGN = 50_000
RESETS = 60
#: Seconds between resets, and those that 95 of 100 may take.
_PAUSE = 0.25
_BAR = 1.5


def resets(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """From the call to the mail server's 250."""
    with ScriptedSmtpServer() as server, Bench(folder, smtp_port=server.port) as bench:
        server.keeps_log = False
        rows = [RecipientRow(line=n, email=f"user{n}@example.com", name="Ada") for n in range(CAMPAIGN)]
        for _ in CampaignRecorder(bench.runtime, EmailRequest(campaign="bench", kind=WELCOME)).record(rows):
            pass
        worker = bench.terminal.worker("-c", str(PROCESSES))
        wait_until(lambda: len(server.messages) > 0)
        seconds = [_reset(bench, server, number) for number in range(RESETS)]
        is_draining = len(server.messages) < CAMPAIGN
        worker.kill()
    assert is_draining, "the campaign was over before the last reset"
    slow = statistics.quantiles(seconds, n=20)[18]
    yield at_most("reset during a campaign, p95 ms (other: the bar)", slow, _BAR, 1.0)


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
