"""Messages wait for their permits, which all workers of a log share."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mailctl.delivery_log.send_limits import Reservation
from mailctl.domain.models import Envelope
from mailctl.domain.outcomes import Outcome, OutcomeKind, ReplyCategory, SmtpReply
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.send_rates import SendRates
from mailctl.errors import LogUnavailable
from mailctl.smtp.paced_sender import PacedSender
from mailctl.smtp.sender import no_fence

if TYPE_CHECKING:
    from collections.abc import Callable

SENT = Outcome(kind=OutcomeKind.ACCEPTED, stage="body")
TOO_FAST = Outcome(
    kind=OutcomeKind.DEFERRED,
    stage="rcpt",
    category=ReplyCategory.RATE,
    reply=SmtpReply(code=450, text="too fast"),
)


class Inner:
    """A sender that notes what it gets."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.recipients: list[str] = []

    async def send(self, envelope: Envelope, *, fence: Callable[[], None] = no_fence) -> Outcome:
        fence()
        self.recipients.append(envelope.recipient)
        return self.outcomes.pop(0) if self.outcomes else SENT

    async def close(self) -> None:
        self.recipients.append("closed")


class Limits:
    """The rates in a log, as fast as a test says."""

    def __init__(
        self, *, per_second: float | None = 1e6, is_taken: bool = True, learned: bool = False
    ) -> None:
        self.answer = Reservation(per_second=per_second, is_taken=is_taken)
        self.learned = learned
        self.reserved: list[tuple[str, int]] = []
        self.taught: list[tuple[str, int]] = []
        self.error: Exception | None = None
        #: The domains for which another worker has learned a rate.
        self.domains: frozenset[str] = frozenset()
        #: The limits that have no permits.
        self.full: set[str] = set()

    def reserve(self, scope: str, *, count: int, **_: Any) -> Reservation:
        if self.error is not None:
            raise self.error
        self.reserved.append((scope, count))
        return replace(self.answer, is_taken=self.answer.is_taken and scope not in self.full)

    def is_learned(self, _scope: str) -> bool:
        return self.learned

    def learned_domains(self) -> frozenset[str]:
        return self.domains

    def learned_at(self, _scope: str) -> datetime | None:
        return self.answer.learned_at

    def learn(self, scope: str, *, accepted_ages: list[float], **_: Any) -> float:
        self.taught.append((scope, len(accepted_ages)))
        return 1.0


def make(
    limits: Limits, inner: Inner, *, rate: float | None = None, domains: dict[str, float] | None = None
) -> PacedSender:
    rates = SendRates(per_domain=domains or {})
    return PacedSender(
        inner,  # type: ignore[arg-type]
        limits,  # type: ignore[arg-type]
        rates=rates,
        servers={"default": rate},
        patience_seconds=0.0,
    )


def send(sender: PacedSender, *recipients: str) -> list[Outcome]:
    """Send a message to each recipient at the same time."""
    envelopes = [
        Envelope(sender="a@x.example", recipient=to, message_id="", data=b"", subject="") for to in recipients
    ]

    async def run() -> list[Outcome]:
        return await asyncio.gather(*(sender.send(envelope) for envelope in envelopes))

    return asyncio.run(run())


def test_without_a_rate_no_places_are_taken() -> None:
    """Only whether another worker has learned one is looked up, now and then."""
    limits, inner = Limits(), Inner()
    assert send(make(limits, inner), "a@x.example", "b@x.example") == [SENT, SENT]
    assert limits.reserved == []


def test_each_message_takes_a_place() -> None:
    """Those that wait together take theirs together."""
    limits, inner = Limits(), Inner()
    people = [f"u{number}@x.example" for number in range(20)]
    send(make(limits, inner, rate=1e6), *people)
    assert sum(count for _, count in limits.reserved) == 20
    assert len(limits.reserved) < 20
    assert sorted(inner.recipients) == sorted(people)


def test_a_domain_has_a_rate_of_its_own() -> None:
    """Besides that of the server."""
    limits = Limits()
    send(make(limits, Inner(), rate=5.0, domains={"gmail.com": 2.0}), "a@gmail.com")
    send(make(limits, Inner(), domains={"gmail.com": 2.0}), "a@other.example")
    assert limits.reserved == [("domain gmail.com", 1), ("server default", 1)]


def test_a_message_that_would_wait_too_long_goes_back_to_the_log() -> None:
    """The mail server is not asked, and that is said."""
    limits, inner = Limits(is_taken=False), Inner()
    [outcome] = send(make(limits, inner, rate=0.01), "a@x.example")
    assert (outcome.kind, outcome.reason_code) == (OutcomeKind.DEFERRED, ReasonCode.SEND_RATE)
    assert inner.recipients == []


def test_without_the_log_nothing_is_sent_faster() -> None:
    """The message goes back, as its outcome could not be recorded either."""
    limits, inner = Limits(), Inner()
    limits.error = LogUnavailable("the log is gone.")
    [outcome] = send(make(limits, inner, rate=5.0), "a@x.example")
    assert outcome.kind is OutcomeKind.DEFERRED
    assert "the delivery log could not be asked" in outcome.reply.text
    assert inner.recipients == []


def test_the_sender_decides_about_a_server_that_is_not_in_the_settings_any_more() -> None:
    """There is no rate for it."""
    inner, limits = Inner(), Limits()
    envelope = Envelope(
        sender="a@x.example", recipient="b@x.example", message_id="", data=b"", subject="", server="gone"
    )
    assert asyncio.run(make(limits, inner, rate=5.0).send(envelope)) == SENT
    assert limits.reserved == []


def test_a_process_remembers_only_so_many_domains() -> None:
    """With one rate for each domain, a campaign would otherwise fill its memory."""
    limits = Limits()
    domains = {f"d{number}.example": 5.0 for number in range(3)}
    sender = make(limits, Inner(), domains=domains)
    sender._max_domains = 2
    for number in (0, 1, 0, 2, 0, 1):
        send(sender, f"a@d{number}.example")
    assert list(sender._domains) == ["d0.example", "d1.example"]


class RelearnedLimits(Limits):
    """Another worker learns a rate after the first permit was taken."""

    def reserve(self, scope: str, **arguments: Any) -> Reservation:
        found = super().reserve(scope, **arguments)
        return replace(found, learned_at=datetime(2026, 1, min(2, len(self.reserved)), tzinfo=UTC))

    def learned_at(self, _scope: str) -> datetime | None:
        return datetime(2026, 1, 2, tzinfo=UTC)


def test_a_place_is_void_if_another_worker_has_learned_a_rate_since() -> None:
    """The message takes another one."""
    limits = RelearnedLimits(learned=True)
    assert send(make(limits, Inner()), "a@x.example") == [SENT]
    assert limits.reserved == [("server default", 1)] * 2


def test_a_refusal_of_the_rate_is_taught_to_all_workers() -> None:
    """With what this one has sent; from then on permits are taken."""
    limits, inner = Limits(), Inner(SENT, SENT, TOO_FAST)
    sender = make(limits, inner)
    for _ in range(3):
        send(sender, "a@x.example")
    assert limits.taught == [("server default", 2)]
    send(sender, "a@x.example")
    assert limits.reserved == [("server default", 1)]


NO_SESSION = Outcome(kind=OutcomeKind.DEFERRED, stage="connect", category=ReplyCategory.CONNECTIONS)


def test_a_message_that_was_not_offered_uses_up_no_permit() -> None:
    """The mail server allowed no session, or the lease had ended: the next message has its permits."""
    limits = Limits()
    sender = make(limits, Inner(NO_SESSION), rate=5.0, domains={"x.example": 2.0})
    assert send(sender, "a@x.example") == [NO_SESSION]
    assert send(sender, "b@x.example") == [SENT]
    assert limits.reserved == [("domain x.example", 1), ("server default", 1)]


def test_a_place_of_the_domain_is_not_lost_to_the_rate_of_the_server() -> None:
    """Otherwise a message that goes back to the log would count twice."""
    limits = Limits()
    sender = make(limits, Inner(), rate=5.0, domains={"x.example": 2.0})
    limits.full = {"server default"}
    [outcome] = send(sender, "a@x.example")
    assert outcome.reason_code is ReasonCode.SEND_RATE
    limits.full = set()
    assert send(sender, "a@x.example") == [SENT]
    assert [scope for scope, _ in limits.reserved].count("domain x.example") == 1


def test_what_another_worker_has_learned_holds_here() -> None:
    """Although this one was never refused."""
    limits = Limits(learned=True)
    send(make(limits, Inner()), "a@x.example")
    assert limits.reserved == [("server default", 1)]


DOMAIN_TOO_FAST = replace(
    TOO_FAST,
    reply=SmtpReply(
        code=421,
        enhanced="4.7.28",
        text="Gmail has detected an unusual rate of mail originating from your IP address.",
    ),
)


def test_messages_that_come_together_wait_for_what_others_have_learned() -> None:
    """None of them goes out before it is known."""
    limits = Limits(learned=True)
    send(make(limits, Inner()), *(f"u{number}@x.example" for number in range(5)))
    assert sum(count for _, count in limits.reserved) == 5


def test_a_refusal_about_a_domain_lowers_the_rate_of_that_domain() -> None:
    """Other email goes on as before."""
    limits = Limits()
    sender = make(limits, Inner(SENT, DOMAIN_TOO_FAST))
    for to in ("a@x.example", "a@gmail.com"):
        send(sender, to)
    assert [scope for scope, _ in limits.taught] == ["domain gmail.com"]
    limits.domains, sender._looked_at = frozenset({"domain gmail.com"}), -math.inf
    limits.learned = True
    send(sender, "b@gmail.com")
    assert ("domain gmail.com", 1) in limits.reserved
    limits.learned, limits.reserved = False, []
    send(sender, "b@x.example")
    assert "domain x.example" not in dict(limits.reserved)


def test_a_learned_rate_of_a_domain_holds_in_other_workers() -> None:
    """Although they were never refused."""
    limits = Limits(learned=True)
    limits.domains = frozenset({"domain gmail.com"})
    send(make(limits, Inner()), "a@gmail.com")
    assert limits.reserved == [("domain gmail.com", 1), ("server default", 1)]


def test_a_refusal_about_a_domain_with_a_rate_lowers_that_rate() -> None:
    """One row for all subdomains, as the settings say."""
    limits = Limits()
    send(make(limits, Inner(DOMAIN_TOO_FAST), domains={"*.gmail.com": 5.0}), "a@mx.gmail.com")
    assert [scope for scope, _ in limits.taught] == ["domain *.gmail.com"]


def test_the_same_refusal_for_several_domains_is_about_the_server() -> None:
    """Whatever it says: it does not take so much of us."""
    limits = Limits()
    sender = make(limits, Inner(*[DOMAIN_TOO_FAST] * 4))
    for to in ("a@one.example", "b@one.example", "a@two.example", "a@three.example"):
        send(sender, to)
    assert [scope for scope, _ in limits.taught] == [
        *("domain one.example", "domain one.example", "domain two.example"),
        "server default",
    ]


def test_the_sender_is_closed_with_it() -> None:
    """So that its sessions end."""
    inner = Inner()
    asyncio.run(make(Limits(), inner).close())
    assert inner.recipients == ["closed"]
