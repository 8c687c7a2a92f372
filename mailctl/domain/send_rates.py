"""How fast emails may go out: the rates of the settings, and what mail servers have taught."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.domain.routing import domain_of, is_domain_listed
from mailctl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mailctl.settings import Settings

RATE_SETTING = "MAILCTL_RATE"
DOMAIN_RATE_SETTING = "MAILCTL_RATE_PER_DOMAIN"
#: The name that stands for every domain that has no rate of its own.
ALL_DOMAINS = "*"
_RATE = re.compile(r"([1-9]\d{0,6})/([smh])")
_DOMAIN_RATE = re.compile(r"(\*|(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)+)\s*=\s*(\S+)")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
#: A learned rate is raised by this factor, then by its square, and so on, after each step without a refusal:
#: the longer none comes, the faster it rises. A step takes as long as so many emails, and so many seconds.
RAISE_FACTOR = 1.01
_RAISE_EMAILS, _RAISE_SECONDS = 150, 10.0
_MOST_RAISES = 1000
#: The share of a rate that is tried after a refusal.
CAUTION = 0.95
#: The smallest share of a rate that is kept after a refusal.
_MIN_SHARE = 0.75
#: Up to so many seconds after the previous refusal, what was accepted since then determines the new rate.
_CONVERGING_SECONDS = 10.0
#: Seconds for which no worker sends after a refusal, and the maximum if nothing is accepted in between.
PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 1.0, 60.0
#: Seconds after a refusal for which it matters whether anything was accepted since.
COUNTED_SECONDS = 2 * _MAX_PAUSE_SECONDS
#: The lowest learned rate in messages a second.
MIN_RATE = 0.1
#: How long what a mail server has taught holds without another refusal.
LEARNED_FOR = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class SendRates:
    """The rates of the settings, in messages a second; all workers of a delivery log share them."""

    #: For the default mail server; None for no limit.
    default_server: float | None = None
    #: For recipients in a domain, by domain, `*.domain` or `ALL_DOMAINS`.
    per_domain: Mapping[str, float] = field(default_factory=dict)

    def for_recipient(self, address: str) -> tuple[str, float] | None:
        """Return the domain that is counted for a recipient, and its rate; None for no limit."""
        domain = domain_of(address)
        if domain in self.per_domain:
            return domain, self.per_domain[domain]
        for listed, rate in self.per_domain.items():
            if is_domain_listed(domain, [listed]):
                return listed, rate
        rate_of_others = self.per_domain.get(ALL_DOMAINS)
        return None if rate_of_others is None else (domain, rate_of_others)


def send_rates_from_settings(settings: Settings) -> SendRates:
    """Return the rates of these settings.

    Raises:
        ConfigurationError: a rate is invalid.
    """
    return SendRates(
        default_server=_parse_optional(settings.mailctl_rate),
        per_domain=_parse_by_domain(settings.mailctl_rate_per_domain),
    )


def server_scope(name: str) -> str:
    """Return the scope of the limits of a mail server."""
    return f"server {name}"


def domain_scope(domain: str) -> str:
    """Return the scope of the limits for recipients in a domain."""
    return f"domain {domain}"


def parse_rate(text: str) -> float | None:
    """Return a rate such as 100/s, 600/m or 5000/h in messages a second; None if it is none."""
    found = _RATE.fullmatch(text.strip())
    return int(found[1]) / _SECONDS[found[2]] if found else None


def effective_rate(*, configured: float | None, learned: float | None, age_seconds: float) -> float | None:
    """Return the rate that is kept: the lower one, of which a learned one rises slowly.

    Args:
        configured: the rate of the settings; None for no limit.
        learned: the rate at which the mail server last refused a message; None if it has not.
        age_seconds: how long ago that was.

    Returns:
        Messages a second; None for no limit.
    """
    if learned is None or age_seconds > LEARNED_FOR.total_seconds():
        return configured
    steps = int(max(0.0, age_seconds) / max(_RAISE_SECONDS, _RAISE_EMAILS / learned))
    raised: float = learned * RAISE_FACTOR ** min(steps * (steps + 1) // 2, _MOST_RAISES)
    return raised if configured is None else min(configured, raised)


@dataclass(frozen=True, kw_only=True)
class RateAdjustment:
    """The new rate and the pause after a mail server has refused a message that came too fast."""

    #: Messages a second.
    rate: float
    #: Seconds for which no worker sends.
    pause_seconds: float = PAUSE_SECONDS


def rate_after_refusal(
    known: float | None, *, accepted_per_second: float, accepted_since: Sequence[float], age_seconds: float
) -> RateAdjustment:
    """Return the new rate and the pause after a refusal.

    Args:
        known: the rate that was kept until now; None if there was none.
        accepted_per_second: what the mail server has accepted of all workers in the fastest second before.
        accepted_since: how many seconds ago it accepted each message since the previous refusal; they do not
            count if that refusal was more than `COUNTED_SECONDS` ago.
        age_seconds: the seconds since the previous refusal; infinite if there was none.

    Returns:
        At first a little less than was accepted. Later a little less than the known rate or, soon after the
        previous refusal, than what was accepted since then. If nothing was accepted since then, the server
        counts over a longer period than the pause, so the next pause is twice as long.
    """
    if known is None:
        return RateAdjustment(rate=max(MIN_RATE, CAUTION * accepted_per_second))
    if not accepted_since and age_seconds <= COUNTED_SECONDS:
        pause = min(max(PAUSE_SECONDS, 2 * age_seconds), _MAX_PAUSE_SECONDS)
        return RateAdjustment(rate=max(MIN_RATE, CAUTION * known), pause_seconds=pause)
    kept = known
    if age_seconds <= _CONVERGING_SECONDS:
        # Some servers would have accepted messages in the pause, too; others start counting after it.
        counted_seconds = (age_seconds + max(accepted_since)) / 2
        kept = min(known, len(accepted_since) / counted_seconds)
    return RateAdjustment(rate=max(MIN_RATE, _MIN_SHARE * known, CAUTION * kept))


def fastest_second(times: Sequence[float]) -> int:
    """Return how many of the times, in seconds and ascending, were in the fastest second."""
    fastest, first = 0, 0
    for last, at in enumerate(times):
        while times[first] < at - 1:
            first += 1
        fastest = max(fastest, last - first + 1)
    return fastest


def _parse_optional(text: str) -> float | None:
    if not text.strip():
        return None
    rate = parse_rate(text)
    if rate is None:
        raise ConfigurationError(
            f"{RATE_SETTING}: {text!r} is not NUMBER/UNIT.", fix="Give one like 100/s, 600/m or 5000/h."
        )
    return rate


def _parse_by_domain(text: str) -> dict[str, float]:
    rates: dict[str, float] = {}
    for entry in (part.strip().lower() for part in text.split(",") if part.strip()):
        found = _DOMAIN_RATE.fullmatch(entry)
        rate = parse_rate(found[2]) if found else None
        if found is None or rate is None or found[1] in rates:
            raise ConfigurationError(
                f"{DOMAIN_RATE_SETTING}: {entry!r} is not DOMAIN=NUMBER/UNIT, or names a domain twice.",
                fix="Give them like gmail.com=20/s,*.example.org=60/m,*=100/s.",
            )
        rates[found[1]] = rate
    return rates
