"""Rates of the settings, and those that mail servers teach."""

from __future__ import annotations

import math

import pytest

from mailctl.domain.send_rates import (
    SendRates,
    effective_rate,
    fastest_second,
    parse_rate,
    rate_after_refusal,
    send_rates_from_settings,
)
from mailctl.errors import ConfigurationError
from mailctl.settings import Settings


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/s", 100.0),
        ("600/m", 10.0),
        ("36/h", 0.01),
        (" 5/s ", 5.0),
        ("0/s", None),
        ("5", None),
        ("", None),
    ],
)
def test_a_rate_is_a_number_in_a_unit(text: str, rate: float | None) -> None:
    """Without a burst: messages go one after the other."""
    assert parse_rate(text) == rate


def test_a_recipient_counts_for_the_nearest_domain() -> None:
    """Its own, then that of a parent, then one for itself at the rate of all others."""
    rates = SendRates(per_domain={"gmail.com": 20.0, "*.example.org": 5.0, "*": 50.0})
    assert rates.for_recipient("ada@GMAIL.com") == ("gmail.com", 20.0)
    assert rates.for_recipient("ada@a.b.example.org") == ("*.example.org", 5.0)
    assert rates.for_recipient("ada@example.org") == ("example.org", 50.0)
    assert SendRates(per_domain={"gmail.com": 20.0}).for_recipient("ada@example.org") is None


def test_the_settings_are_read() -> None:
    """Both may be left out."""
    rates = send_rates_from_settings(
        Settings(MAILCTL_RATE="60/m", MAILCTL_RATE_PER_DOMAIN="gmail.com=20/s, *=100/s")
    )
    assert (rates.default_server, rates.per_domain) == (1.0, {"gmail.com": 20.0, "*": 100.0})
    assert send_rates_from_settings(Settings()) == SendRates()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAILCTL_RATE", "fast"),
        ("MAILCTL_RATE", "5/d"),
        ("MAILCTL_RATE_PER_DOMAIN", "20/s"),
        ("MAILCTL_RATE_PER_DOMAIN", "gmail.com=fast"),
        ("MAILCTL_RATE_PER_DOMAIN", "gmail.com=1/s,GMAIL.com=2/s"),
    ],
)
def test_a_wrong_rate_is_named(name: str, value: str) -> None:
    """With an example."""
    with pytest.raises(ConfigurationError, match=f"^{name}: ") as raised:
        send_rates_from_settings(Settings(**{name: value}))
    assert "/s" in raised.value.fix


def test_the_lower_rate_holds() -> None:
    """A learned one rises the faster the longer no refusal comes, never above that of the settings."""
    assert effective_rate(configured=None, learned=None, age_seconds=0) is None
    assert effective_rate(configured=10, learned=None, age_seconds=0) == 10
    assert effective_rate(configured=10, learned=4, age_seconds=37) == 4
    assert effective_rate(configured=10, learned=4, age_seconds=38) == pytest.approx(4.04)
    assert effective_rate(configured=10, learned=4, age_seconds=75) == pytest.approx(4 * 1.01**3)
    assert effective_rate(configured=None, learned=400, age_seconds=10) == pytest.approx(404)
    assert effective_rate(configured=10, learned=4, age_seconds=36_000) == 10


@pytest.mark.parametrize(
    ("known", "accepted_per_second", "accepted_since", "age_seconds", "rate", "pause"),
    [
        pytest.param(None, 5, [], math.inf, 4.75, 1, id="the first: what was accepted in a second"),
        pytest.param(None, 0, [], math.inf, 0.1, 1, id="never nothing"),
        pytest.param(8, 10, [1.0] * 14, 3, 0.95 * 7, 1, id="soon after: what was accepted since"),
        pytest.param(10, 10, [1.0], 3, 7.5, 1, id="at least three quarters of the rate"),
        pytest.param(5, 10, [1.0] * 30, 5, 4.75, 1, id="at most a little less than the rate"),
        pytest.param(5, 5, [1.0] * 20, 300, 4.75, 1, id="later, when there may have been pauses"),
        pytest.param(5, 0, [], 1, 4.75, 2, id="nothing since: twice the pause"),
        pytest.param(5, 0, [], 16, 4.75, 32, id="and again"),
        pytest.param(5, 0, [], 40, 4.75, 60, id="a minute at most"),
        pytest.param(5, 0, [], 121, 4.75, 1, id="it was not counted for so long"),
    ],
)
def test_a_refusal_teaches_a_rate_and_a_pause(
    known: float | None,
    accepted_per_second: float,
    accepted_since: list[float],
    age_seconds: float,
    rate: float,
    pause: float,
) -> None:
    """If nothing was accepted between two refusals, the server counts over a longer time."""
    adjustment = rate_after_refusal(
        known,
        accepted_per_second=accepted_per_second,
        accepted_since=accepted_since,
        age_seconds=age_seconds,
    )
    assert (adjustment.rate, adjustment.pause_seconds) == (pytest.approx(rate), pause)


@pytest.mark.parametrize(
    ("times", "count"), [([], 0), ([1.0], 1), ([0.0, 0.9, 1.0, 1.5, 5.0], 3), ([0.0, 2.0, 4.0], 1)]
)
def test_the_fastest_second_counts(times: list[float], count: int) -> None:
    """An average would include pauses."""
    assert fastest_second(times) == count
