"""What `mailctl send` to many recipients says before, while and after it records them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.cli import send_campaign
from mailctl.cli.send_options import SendOptions
from mailctl.cli.terminal.output import Output
from mailctl.domain.catalog import RESET, WELCOME, Kind
from mailctl.domain.models import RowProblem
from mailctl.domain.recipient_list import RecipientRow
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.campaign import ChunkResult
from mailctl.enqueue.mailing_list import MailingList
from mailctl.errors import InvalidInput, Refused
from mailctl.views.campaigns import CampaignView

if TYPE_CHECKING:
    from collections.abc import Sequence


def mailing_list(count: int = 1, **more: Any) -> MailingList:
    """Return a list of users, with as many examples as there are, up to two."""
    shown = range(min(count, 2))
    sample = tuple(RecipientRow(line=n, email=f"u{n}@example.com", user_id=f"{n}") for n in shown)
    return MailingList(
        **({"rows": (), "recipient_count": count, "problem_count": 0, "sample": sample} | more)
    )


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ({"recorded": 2}, "2 emails recorded; campaign spring"),
        ({"recorded": 1, "suppressed": 1}, "1 email recorded, 1 of them suppressed; campaign spring"),
        (
            {"recorded": 0, "known": 3, "left_out": 1, "problems": 2},
            "0 emails recorded, 3 recorded before, 1 user left out, 2 invalid rows skipped; campaign spring",
        ),
    ],
)
def test_the_totals_name_what_there_is(figures: dict[str, int], text: str) -> None:
    """And nothing of which there is none."""
    none = dict.fromkeys(("recorded", "known", "suppressed", "left_out", "problems"), 0)
    view = CampaignView(campaign="spring", **(none | figures))  # type: ignore[arg-type]
    assert send_campaign.summary_text(view) == text


def test_totals_add_up() -> None:
    """Chunk by chunk."""
    totals = send_campaign._CampaignTotals()
    problem = RowProblem(line=3, reason="no address")
    totals.add(ChunkResult(emails=(("e-1", "a@x.org"),), suppressed=1))
    totals.add(ChunkResult(already_recorded=2, problems=(problem,)))
    assert (totals.recorded, totals.known, totals.suppressed, totals.problems) == (1, 2, 1, [problem])


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"user_id": ["7"], "all_users": True}, "recipients"),
        ({"email": "a@x.org", "users_file": Path("x")}, "recipients"),
        ({"users_file": Path("x"), "all_users": True}, "recipients"),
        ({"all_users": True, "wait": True}, "--wait"),
        ({"all_users": True, "idempotency_key": "k"}, "--idempotency-key"),
    ],
)
def test_options_for_one_email_are_refused(options: dict[str, Any], name: str) -> None:
    """Each with what to do instead."""
    with pytest.raises(InvalidInput) as refused:
        send_campaign._refuse_single_email_options(EmailRequest(kind=WELCOME), SendOptions(**options))
    assert name in str(refused.value)
    assert refused.value.fix


def test_a_token_of_one_user_is_refused_for_many() -> None:
    """It would let each of them act for that user."""
    request = EmailRequest(kind=RESET, tokens={"reset_url": "x"})
    with pytest.raises(InvalidInput, match="one user only"):
        send_campaign._refuse_single_email_options(request, SendOptions(all_users=True))


class TestConfirmation:
    """What an operator sees before many users get an email."""

    def asked(
        self, capsys: pytest.CaptureFixture[str], recipients: MailingList, *, kind: Kind = WELCOME
    ) -> list[str]:
        """Return what is said where nobody can answer."""
        with pytest.raises(Refused):
            send_campaign._confirm_recipients(
                Output(), EmailRequest(kind=kind), recipients, is_confirmed=False
            )
        return capsys.readouterr().err.splitlines()

    def test_examples_are_shown(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Or all of them, if they are few."""
        assert self.asked(capsys, mailing_list(9))[:2] == ["Examples:", "  u0@example.com  (user 0)"]
        assert self.asked(capsys, mailing_list(1))[0] == "These are:"

    def test_links_that_nobody_requested_are_mentioned(self, capsys: pytest.CaptureFixture[str]) -> None:
        """They act on the account."""
        warning = "Each email carries a link that acts on the user's account, and no user has requested it."
        assert warning in self.asked(capsys, mailing_list(), kind=RESET)
        assert warning not in self.asked(capsys, mailing_list(), kind=WELCOME)

    def test_of_many_reasons_the_most_frequent_are_shown(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A column of the service may hold anything."""
        reasons = Counter({f"reason {n}": n + 1 for n in range(12)})
        said = [
            line
            for line in self.asked(capsys, mailing_list(excluded_by_reason=reasons))
            if "left out" in line
        ]
        assert len(said) == 11
        assert said[0] == "    12  left out: reason 11"
        assert said[-1] == "     3  left out for other reasons"

    def test_what_cannot_be_known_is_said(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Without a column for it, deactivated users are included."""
        said = self.asked(capsys, mailing_list(4, is_unscreened=True))
        assert any("so all 4 are included" in line for line in said)

    def test_one_who_has_confirmed_is_shown_no_examples(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Only who is left out."""
        recipients = mailing_list(excluded_by_reason=Counter({"gone": 1}))
        send_campaign._confirm_recipients(Output(), EmailRequest(kind=WELCOME), recipients, is_confirmed=True)
        assert capsys.readouterr().err.splitlines() == ["     1  left out: gone"]


class Recorder:
    """Records rows in chunks, and is interrupted after them if it is told so."""

    rows_in_log = 2

    def __init__(self, steps: Sequence[ChunkResult], *, is_interrupted: bool = False) -> None:
        self._steps, self._is_interrupted = steps, is_interrupted

    def record(self, rows: object) -> Any:
        """Yield the result of each chunk."""
        yield from self._steps
        if self._is_interrupted:
            raise KeyboardInterrupt


STEP = ChunkResult(emails=(("e-1", "a@x.org"), ("e-2", "b@x.org")))
SPRING = EmailRequest(kind=WELCOME, campaign="spring")


def test_programs_get_a_line_for_each_email_and_the_totals(capsys: pytest.CaptureFixture[str]) -> None:
    """As they are recorded."""
    send_campaign._record(Output(as_json=True), Recorder([STEP]), SPRING, mailing_list(2))  # type: ignore[arg-type]
    lines = capsys.readouterr().out.splitlines()
    assert ["e-1" in lines[0], "e-2" in lines[1], '"recorded": 2' in lines[2]] == [True, True, True]


def test_an_interruption_says_how_far_it_got(capsys: pytest.CaptureFixture[str]) -> None:
    """And that the command can be repeated."""
    recorder = Recorder([STEP], is_interrupted=True)
    with pytest.raises(KeyboardInterrupt):
        send_campaign._record(Output(), recorder, SPRING, mailing_list(9))  # type: ignore[arg-type]
    said = capsys.readouterr().err
    assert "Stopped: 2 of 9 recorded, campaign spring. Repeat the command to continue." in said
