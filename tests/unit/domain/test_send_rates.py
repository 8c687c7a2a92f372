"""Rates of the settings, and those that mail servers teach."""

from __future__ import annotations

import pytest

from mailctl.domain.send_rates import (
    SendRates,
    effective_rate,
    fastest_second,
    lowered_rate,
    parse_rate,
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
    assert effective_rate(configured=10, learned=4, age_seconds=24) == 4
    assert effective_rate(configured=10, learned=4, age_seconds=25) == pytest.approx(4.04)
    assert effective_rate(configured=10, learned=4, age_seconds=50) == pytest.approx(4 * 1.01**3)
    assert effective_rate(configured=None, learned=400, age_seconds=10) == pytest.approx(404)
    assert effective_rate(configured=10, learned=4, age_seconds=36_000) == 10


def test_a_refusal_lowers_the_rate_a_little() -> None:
    """The first one to what was accepted; never to nothing."""
    assert lowered_rate(None, accepted_per_second=5) == pytest.approx(4.75)
    assert lowered_rate(4.75, accepted_per_second=100) == pytest.approx(4.5125)
    assert lowered_rate(10, accepted_per_second=5.5) == 5.5
    assert lowered_rate(10, accepted_per_second=0) == 5
    assert lowered_rate(10, accepted_per_second=100, age_seconds=2) == 8.5
    assert lowered_rate(None, accepted_per_second=0) == 0.1


@pytest.mark.parametrize(
    ("times", "count"), [([], 0), ([1.0], 1), ([0.0, 0.9, 1.0, 1.5, 5.0], 3), ([0.0, 2.0, 4.0], 1)]
)
def test_the_fastest_second_counts(times: list[float], count: int) -> None:
    """An average would include pauses."""
    assert fastest_second(times) == count
