"""Findings and the groups that create them."""

from __future__ import annotations

from mailctl.checks.finding import CheckGroup, Finding, as_sentence
from mailctl.errors import ConfigurationError
from tests.unit.checks.samples import FAIL, OK, SKIP, WARN

GROUP = CheckGroup(name="log")


def test_a_group_names_its_findings() -> None:
    """Only warnings and failures have a fix."""
    assert [
        GROUP.ok("schema", "is current"),
        GROUP.skip("schema", "offline"),
        GROUP.warn("schema", "It is old.", fix="Upgrade it."),
        GROUP.fail("schema", "It is too old.", fix="Upgrade it."),
    ] == [
        Finding(group="log", name="schema", status=OK, detail="is current"),
        Finding(group="log", name="schema", status=SKIP, detail="offline"),
        Finding(group="log", name="schema", status=WARN, detail="It is old.", fix="Upgrade it."),
        Finding(group="log", name="schema", status=FAIL, detail="It is too old.", fix="Upgrade it."),
    ]


def test_an_error_is_a_failure_with_its_message_and_fix() -> None:
    """Nothing else is added."""
    error = ConfigurationError("It is wrong.", fix="Correct it.")
    assert GROUP.error("url", error) == GROUP.fail("url", "It is wrong.", fix="Correct it.")


def test_a_clause_becomes_a_sentence() -> None:
    """With a capital letter and a full stop."""
    assert as_sentence("queue 'a' is shared") == "Queue 'a' is shared."
