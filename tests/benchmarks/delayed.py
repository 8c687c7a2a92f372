"""Mail servers that answer late: single emails and campaigns, with the default settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.domain.catalog import WELCOME
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.request import EmailRequest
from tests.benchmarks.bench import PROCESSES, Bench, Figure, at_least, rate_of
from tests.benchmarks.bulk import record_campaign, sent
from tests.benchmarks.sink import sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: For each round trip in seconds, the emails a second that single emails and campaigns must reach.
_BARS = {0.0: (1900, 2000), 0.02: (800, 1500), 0.1: (350, 450)}
#: Emails of a round: enough for the sessions to grow.
SINGLE_EMAILS = 1500
CAMPAIGN_EMAILS = 3000
_ADDRESSES = 500


def single_emails(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """A backlog of single emails, from the first that is sent to the last."""
    for delay, (bar, _) in _BARS.items():
        rates = _rates(folder / f"single-{delay}", delay, rounds, _record_single_emails)
        yield _figure("single emails", delay, rates, bar)


def campaigns(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """The same with a campaign."""
    for delay, (_, bar) in _BARS.items():
        rates = _rates(folder / f"campaign-{delay}", delay, rounds, lambda bench: _record_campaign(bench))
        yield _figure("campaign", delay, rates, bar)


def _figure(what: str, delay: float, rates: list[float], bar: float) -> Figure:
    return at_least(f"{what}, {delay * 1000:.0f} ms, /s (other: the bar)", rates, bar, 1.0)


def _rates(folder: Path, delay: float, rounds: int, record: Callable[[Bench], int]) -> list[float]:
    with sink(delay_seconds=delay) as port, Bench(folder, smtp_port=port) as bench:
        worker = bench.terminal.worker("-c", str(PROCESSES))
        rates = [rate_of(lambda: sent(bench), lambda: record(bench)) for _ in range(rounds)]
        worker.stop()
    return rates


def _record_single_emails(bench: Bench) -> int:
    contents = [
        make_content(
            WELCOME, make_user(email=f"user{n % _ADDRESSES}@example.com"), origins=bench.runtime.link_origins
        )
        for n in range(SINGLE_EMAILS)
    ]
    ids = bench.enqueuer.record(EmailRequest(kind=WELCOME), contents).ids
    bench.enqueuer.publish(ids)
    return SINGLE_EMAILS


def _record_campaign(bench: Bench) -> int:
    record_campaign(bench, CAMPAIGN_EMAILS)
    return CAMPAIGN_EMAILS
