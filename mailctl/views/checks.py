"""The findings of `mailctl check-config`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from mailctl.checks.finding import FindingStatus, is_ok
from mailctl.settings import Profile
from mailctl.views.base import View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.checks.finding import Finding


class FindingView(View):
    """The finding of one check."""

    group: str
    name: str
    status: FindingStatus
    detail: str
    fix: str = Field(description="What to do; empty if there is nothing to do.")


class CheckReportView(View):
    """The findings of all checks."""

    ok: bool
    profile: Profile
    checks: list[FindingView] = Field(json_schema_extra={"minItems": 1})

    @classmethod
    def of(cls, findings: Sequence[Finding], *, profile: Profile) -> CheckReportView:
        """Return the view of findings for a profile."""
        checks = [FindingView.model_validate(finding) for finding in findings]
        return cls(ok=is_ok(findings), profile=profile, checks=checks)
