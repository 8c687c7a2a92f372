"""Hops made of errors and of findings."""

from __future__ import annotations

import pytest

from mailctl.checks.finding import CheckGroup
from mailctl.errors import ExitCode, LogUnavailable
from mailctl.monitoring.hops import failed_hop, hop_of_finding

GROUP = CheckGroup(name="workers")


def test_an_error_is_a_failed_hop() -> None:
    """With its fix and its exit code."""
    hop = failed_hop("log", LogUnavailable("It is down.", fix="Start it."))
    assert (hop.ok, hop.detail, hop.fix, hop.exit_code) == (
        False,
        "It is down.",
        "Start it.",
        ExitCode.UNAVAILABLE,
    )


@pytest.mark.parametrize(
    ("finding", "ok", "code"),
    [
        (GROUP.ok("keys", "the same"), True, ExitCode.DONE),
        (GROUP.warn("keys", "The same.", fix="None."), True, ExitCode.DONE),
        (GROUP.fail("keys", "Another.", fix="Set it."), False, ExitCode.FAILED),
    ],
)
def test_only_a_finding_that_fails_fails_the_hop(finding: object, ok: bool, code: ExitCode) -> None:
    """A warning has its fix."""
    hop = hop_of_finding(finding)  # type: ignore[arg-type]
    assert (hop.name, hop.ok, hop.exit_code) == ("keys", ok, code)
    assert not hop.detail.endswith(".")
