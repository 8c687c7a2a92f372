"""What an event of a provider means, and its codes."""

from __future__ import annotations

import pytest

from mailctl.feedback.models import FeedbackKind, Proof
from mailctl.feedback.providers import report
from tests.webhooks import NOW


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("Permanent", report.HARD_BOUNCE),
        ("Transient", report.SOFT_BOUNCE),
        ("Undetermined", report.BOUNCE),
        (None, report.BOUNCE),
    ],
)
def test_a_bounce_of_unknown_type_is_neither_hard_nor_soft(
    name: str | None, verdict: report.EventMeaning
) -> None:
    """The codes of the reply decide then."""
    assert report.bounce_of_type(name) is verdict


@pytest.mark.parametrize(
    ("name", "kind"),
    [(None, FeedbackKind.COMPLAINED), ("abuse", FeedbackKind.COMPLAINED), ("not-spam", None)],
)
def test_a_complaint_may_be_taken_back(name: str | None, kind: FeedbackKind | None) -> None:
    """Then it is none."""
    found = report.complaint_of_type(name)
    assert (found.kind if found else None) is kind


@pytest.mark.parametrize(
    ("given", "diagnostic", "expected"),
    [
        ({}, "550 5.1.1 no", (550, "5.1.1")),
        ({"smtp_code": 552, "enhanced_code": "5.2.2"}, "550 5.1.1 no", (552, "5.2.2")),
        ({"smtp_code": 605, "enhanced_code": "bounce"}, "not delivering: 550 before", (550, None)),
        ({"smtp_code": None}, "no", (None, None)),
    ],
)
def test_codes_that_are_none_of_smtp_are_read_from_the_diagnostic(
    given: dict[str, int | str | None], diagnostic: str, expected: tuple[int | None, str | None]
) -> None:
    """Some providers have numbers of their own in the same field."""
    found = report.make_report(
        "test",
        report.BOUNCE,
        source_id="e-1",
        at=NOW,
        diagnostic=diagnostic,
        message_id="<a@b>",
        **given,  # type: ignore[arg-type]
    )
    assert (found.smtp_code, found.enhanced_code) == expected
    assert (found.proof, found.message_id) == (Proof.VERIFIED, "a@b")
