"""Rate limits from settings."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mailctl.domain.rate_limits import RateLimit, rate_limits_from_settings
from mailctl.errors import ConfigurationError
from mailctl.settings import Settings


def test_security_emails_have_limits_by_default() -> None:
    """The generic kind and the whole service have none."""
    limits = rate_limits_from_settings(Settings())
    assert limits.per_recipient["reset"] == (RateLimit(count=5, unit="h"),)
    assert (limits.per_recipient.keys(), limits.per_user, limits.global_limit) == (
        {"reset", "verification", "new-ip"},
        {},
        None,
    )


def test_a_kind_may_have_several_limits() -> None:
    """All kinds together may have one, too."""
    limits = rate_limits_from_settings(Settings(mailctl_limit_per_user="reset=1/m, reset=5/h ,*=20/d"))
    assert [str(limit.window) for limit in limits.per_user["reset"]] == ["0:01:00", "1:00:00"]
    assert limits.per_user["*"][0].window == timedelta(days=1)


def test_limits_can_be_removed() -> None:
    """With the word `none`, because an empty setting means the default."""
    settings = Settings(mailctl_limit_per_recipient="none", mailctl_limit_per_source="none")
    assert str(rate_limits_from_settings(settings)) == "none"


def test_limits_are_described_in_words() -> None:
    """For `check-config`."""
    settings = Settings(
        mailctl_limit_per_recipient="*=9/d",
        mailctl_limit_per_source="*=7/h",
        mailctl_limit_global="600/m",
    )
    assert str(rate_limits_from_settings(settings)) == (
        "9 emails per day and address, 7 emails per hour and block of IP addresses, "
        "600 emails per minute over all"
    )


@pytest.mark.parametrize(
    "text", ["reset", "reset=5", "reset=0/h", "reset=5/w", "Reset=5/h", "reset=5/h;", ","]
)
def test_an_invalid_limit_is_an_error(text: str) -> None:
    """With the right form."""
    with pytest.raises(ConfigurationError, match="MAILCTL_LIMIT_PER_RECIPIENT") as caught:
        rate_limits_from_settings(Settings(mailctl_limit_per_recipient=text))
    assert "reset=5/h" in caught.value.fix


@pytest.mark.parametrize("text", ["600", "reset=5/h", "0/m"])
def test_the_global_limit_is_one_number(text: str) -> None:
    """With its unit."""
    with pytest.raises(ConfigurationError, match="MAILCTL_LIMIT_GLOBAL"):
        rate_limits_from_settings(Settings(mailctl_limit_global=text))
