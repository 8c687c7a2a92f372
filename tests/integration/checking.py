"""The checks of `check-config`, run as the command does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.checks.run_checks import run_checks

if TYPE_CHECKING:
    from mailctl.checks.finding import Finding
    from mailctl.settings import Settings


def check(settings: Settings, *, send_test: str | None = None) -> dict[str, Finding]:
    """Run all checks; return the findings by "group/name"."""
    findings = run_checks(settings, send_test=send_test)
    return {f"{finding.group}/{finding.name}": finding for finding in findings}
