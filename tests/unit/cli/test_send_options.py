"""The options of `mailctl send`, applied to the request of a command."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mailctl.cli.commands.send import custom_kind_help
from mailctl.cli.send_campaign import summary_text
from mailctl.cli.send_options import SendOptions
from mailctl.domain.catalog import BUILT_IN_KINDS, RESET
from mailctl.domain.request import EmailRequest
from mailctl.errors import InvalidInput
from mailctl.views.campaigns import CampaignView

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


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (SendOptions(campaign="spring"), "--campaign"),
        (SendOptions(rate="1/s"), "--rate"),
        (SendOptions(strict=True), "--strict"),
        (SendOptions(max_=0), "--max"),
    ],
)
def test_single_emails_refuse_options_of_campaigns(options: SendOptions, field: str) -> None:
    """They would do nothing."""
    with pytest.raises(InvalidInput) as caught:
        options.refuse_campaign_options()
    assert caught.value.field == field
    SendOptions(user_id=["1"]).refuse_campaign_options()


def test_the_totals_of_a_campaign_leave_out_what_did_not_happen() -> None:
    """What was recorded is always said."""
    nothing = CampaignView(campaign="spring", recorded=1, known=0, suppressed=0, left_out=0, problems=0)
    assert summary_text(nothing) == "1 email recorded; campaign spring"
    everything = CampaignView(campaign="spring", recorded=3, known=4, suppressed=1, left_out=2, problems=1)
    assert summary_text(everything) == (
        "3 emails recorded, 1 of them suppressed, 4 recorded before, 2 users left out, "
        "1 invalid row skipped; campaign spring"
    )


def test_the_help_of_a_kind_names_its_variables() -> None:
    """After its own summary as a sentence."""
    first, *rest = custom_kind_help(BUILT_IN_KINDS["new-ip"]).splitlines()
    assert first.endswith(".")
    assert rest[-1].startswith("Variables: ip_address")
