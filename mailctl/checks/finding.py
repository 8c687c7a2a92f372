"""What a check has to say: one finding, with its fix."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailctl.errors import MailctlError


class FindingStatus(StrEnum):
    """How serious a finding is."""

    OK = "ok"  #: nothing to do
    WARN = "warn"  #: works, and somebody may regret it
    FAIL = "fail"  #: does not work
    SKIP = "skip"  #: not looked at; the detail says why


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found."""

    #: settings, rules, app, broker, log, users, templates, smtp, workers or hazards.
    group: str
    name: str
    status: FindingStatus
    #: One sentence or a few facts; never a secret.
    detail: str
    #: What to do about it; "" where nothing needs doing.
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class CheckGroup:
    """Makes the findings of one group."""

    name: str

    def ok(self, name: str, detail: str) -> Finding:
        """Return that something works."""
        return self._finding(name, FindingStatus.OK, detail)

    def warn(self, name: str, detail: str, *, fix: str) -> Finding:
        """Return that something works, and may be regretted."""
        return self._finding(name, FindingStatus.WARN, detail, fix)

    def fail(self, name: str, detail: str, *, fix: str) -> Finding:
        """Return that something does not work."""
        return self._finding(name, FindingStatus.FAIL, detail, fix)

    def skip(self, name: str, detail: str) -> Finding:
        """Return that something was not looked at, and why."""
        return self._finding(name, FindingStatus.SKIP, detail)

    def error(self, name: str, error: MailctlError) -> Finding:
        """Return that something does not work, in the words of the error."""
        return self.fail(name, error.message, fix=error.fix)

    def _finding(self, name: str, status: FindingStatus, detail: str, fix: str = "") -> Finding:
        return Finding(group=self.name, name=name, status=status, detail=detail, fix=fix)
