"""Reports about accepted emails: what identifies one, and which state it leads to."""

from __future__ import annotations

import pytest

from mailctl.delivery_log.reports import Report
from mailctl.domain.states import State


def report(kind: str = "bounced", *, source: str = "dsn", source_id: str = "1") -> Report:
    """Return a report."""
    return Report(source=source, source_id=source_id, kind=kind, is_proven=True, summary=kind)


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("delivered", State.DELIVERED),
        ("bounced", State.BOUNCED),
        ("complained", State.COMPLAINED),
        ("delayed", None),
        ("unsubscribed", None),
    ],
)
def test_only_what_ends_an_email_leads_to_a_state(kind: str, target: State | None) -> None:
    """The others are noted."""
    assert report(kind).target is target


def test_a_report_is_the_same_however_often_its_source_sends_it() -> None:
    """Whatever it says then."""
    assert report("bounced").digest == report("delivered").digest


@pytest.mark.parametrize(
    ("source", "source_id"), [("ses", "1"), ("dsn", "2"), ("dsn\0", "1"), ("ds", "n\0001")]
)
def test_reports_of_other_sources_are_others(source: str, source_id: str) -> None:
    """Names and ids do not run into each other."""
    assert report(source=source, source_id=source_id).digest != report().digest
