"""Findings: the results of checks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from mailctl.domain.unicode_safety import shorten_quotes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailctl.errors import MailctlError


class FindingStatus(StrEnum):
    """How serious a finding is."""

    OK = "ok"  #: nothing to do
    WARN = "warn"  #: works, but should be changed
    FAIL = "fail"  #: does not work
    SKIP = "skip"  #: not checked; the detail says why


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One result of a check."""

    #: settings, rules, app, broker, log, users, links, templates, smtp, workers, hazards or dns.
    group: str
    name: str
    status: FindingStatus
    #: What was found, without secrets; a sentence with a full stop if it is a warning or a failure.
    detail: str
    #: What to do about it; "" if there is nothing to do.
    fix: str = ""


def is_ok(findings: Iterable[Finding]) -> bool:
    """Whether no check failed."""
    return all(finding.status is not FindingStatus.FAIL for finding in findings)


def as_sentence(clause: str) -> str:
    """Return a clause with a capital letter at its start and a full stop at its end."""
    return f"{clause[:1].upper()}{clause[1:]}."


@dataclass(frozen=True, kw_only=True)
class CheckGroup:
    """Creates the findings of one group."""

    name: str

    def ok(self, name: str, detail: str) -> Finding:
        """Return a finding that something works."""
        return self._finding(name, FindingStatus.OK, detail)

    def warn(self, name: str, detail: str, *, fix: str) -> Finding:
        """Return a finding that something works, but should be changed."""
        return self._finding(name, FindingStatus.WARN, detail, fix)

    def fail(self, name: str, detail: str, *, fix: str) -> Finding:
        """Return a finding that something does not work."""
        return self._finding(name, FindingStatus.FAIL, detail, fix)

    def skip(self, name: str, detail: str) -> Finding:
        """Return a finding that something was not checked, and why."""
        return self._finding(name, FindingStatus.SKIP, detail)

    def error(self, name: str, error: MailctlError) -> Finding:
        """Return a finding that something does not work, with the message and fix of the error."""
        return self.fail(name, error.message, fix=error.fix)

    def _finding(self, name: str, status: FindingStatus, detail: str, fix: str = "") -> Finding:
        detail, fix = shorten_quotes(detail), shorten_quotes(fix)
        return Finding(group=self.name, name=name, status=status, detail=detail, fix=fix)
