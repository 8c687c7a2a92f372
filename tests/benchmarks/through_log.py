"""What a claim costs after three million emails have gone through one log on PostgreSQL.

Each email is recorded, released, claimed and finished, as relays and workers do it, while autovacuum runs.
`python -m tests.benchmarks through-log` takes long.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mailctl.domain.catalog import WELCOME
from mailctl.domain.models import SentClaim
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.domain.recipient_list import RecipientRow
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.campaign import CampaignRecorder
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.benchmarks.bench import Figure, at_most
from tests.servers import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mailctl.domain.models import Claim

EMAILS = 3_000_000
#: Emails of a campaign, and those at the beginning and at the end whose claims are compared.
CAMPAIGN = 100_000
#: Emails of a release and of a claim.
RELEASED, CLAIMED = 500, 50
_ACCEPTED = Outcome(
    kind=OutcomeKind.ACCEPTED, reply=SmtpReply(code=250, text="2.0.0 Ok: queued as 4XyZ1234"), stage="body"
)


def claims(folder: Path, *, rounds: int) -> Iterator[Figure]:
    """The claims of the last campaign, beside those of the first; one round, whatever was asked for."""
    with PostgresServer() as server:
        settings = Settings(debug=True, mailctl_home=folder, mailctl_database_url=server.make_database())
        runtime = Runtime(settings)
        _send(runtime, "warm-up", RELEASED)
        seconds = [_send(runtime, f"campaign-{number}", CAMPAIGN) for number in range(EMAILS // CAMPAIGN)]
        runtime.close()
    name = f"claim of {CLAIMED}, ms: last {CAMPAIGN:,} of {EMAILS:,} (other: first)"
    yield at_most(name, seconds[-1], seconds[0], 1.3)


def _send(runtime: Runtime, campaign: str, count: int) -> float:
    """Let a campaign go through the log; return the mean seconds of a claim."""
    rows = (RecipientRow(line=n, email=f"user{n}@example.com", name="Ada") for n in range(count))
    for _ in CampaignRecorder(runtime, EmailRequest(campaign=campaign, kind=WELCOME)).record(rows):
        pass
    seconds, claimed = 0.0, 0
    while released := list(runtime.campaigns.take_due(limit=RELEASED)):
        for ids in _groups(released):
            started = time.perf_counter()
            found = runtime.claims.claim(ids, worker="celery@host-1").claims
            seconds += time.perf_counter() - started
            claimed += len(found)
            assert runtime.attempt_results.finish_sent([_sent(claim) for claim in found]) == []
    assert claimed == count
    return seconds / (count / CLAIMED)


def _groups(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + CLAIMED] for start in range(0, len(ids), CLAIMED))


def _sent(claim: Claim) -> SentClaim:
    return SentClaim(claim=claim, state=State.SENT, outcome=_ACCEPTED, message_id=f"<{claim.id}@example.com>")
