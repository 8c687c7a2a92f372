"""The options of `mailctl send`, applied to the request of a command."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mailctl.cli.send_options import SendOptions
from mailctl.domain.catalog import RESET
from mailctl.domain.request import EmailRequest
from mailctl.errors import InvalidInput

REQUEST = EmailRequest(kind=RESET, tokens={"token": "t" * 20}, context={"locale": "de"})


def test_without_options_nothing_is_added() -> None:
    """Without options the request does not change."""
    assert SendOptions().apply_to(REQUEST) == REQUEST


def test_what_the_email_says_stays() -> None:
    """Options change how an email is sent, not what it says."""
    request = SendOptions(idempotency_key="k", campaign="spring").apply_to(REQUEST)
    assert (request.kind, request.tokens, request.context) == (RESET, REQUEST.tokens, REQUEST.context)
    assert (request.idempotency_key, request.campaign) == ("k", "spring")


def test_an_empty_name_is_no_campaign() -> None:
    """An empty name must not make a single email part of a campaign."""
    assert SendOptions(campaign="").apply_to(REQUEST).campaign is None


def test_force_names_who_forces() -> None:
    """The current operator is recorded as the one who forces."""
    assert SendOptions(force=True).apply_to(REQUEST).forced_by


def test_a_delay_is_counted_from_now() -> None:
    """`--in` takes a duration."""
    before = datetime.now(UTC)
    not_before = SendOptions(in_="90m").apply_to(REQUEST).not_before
    assert not_before is not None
    assert not_before >= before + timedelta(minutes=90)


def test_a_time_and_a_delay_contradict_each_other() -> None:
    """`--at` and `--in` exclude each other."""
    with pytest.raises(InvalidInput, match="--at"):
        SendOptions(at="2099-01-01T00:00:00Z", in_="90m").apply_to(REQUEST)


@pytest.mark.parametrize(
    ("options", "is_campaign"),
    [(SendOptions(), False), (SendOptions(all_users=True), True), (SendOptions(campaign="spring"), False)],
)
def test_lists_make_a_campaign(options: SendOptions, *, is_campaign: bool) -> None:
    """Only a list of recipients makes a campaign."""
    assert options.is_campaign is is_campaign
