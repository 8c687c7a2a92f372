"""The hops of `health`: the services on the path of an email, and how each was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.checks.finding import FindingStatus
from mailctl.errors import ExitCode

if TYPE_CHECKING:
    from mailctl.checks.finding import Finding
    from mailctl.errors import MailctlError


@dataclass(frozen=True, kw_only=True)
class Hop:
    """The result of checking one service that emails pass through, or one step of a canary."""

    #: log, app, broker, results, workers, unclaimed, mail-server, or the name of a finding of
    #: `checks.processes`; of a canary: publish, worker, SMTP stages.
    name: str
    ok: bool
    detail: str
    fix: str = ""
    #: How long the answer took; None if nothing was queried.
    seconds: float | None = None
    #: The exit code that a failure of this hop causes.
    exit_code: ExitCode = ExitCode.DONE


def failed_hop(name: str, error: MailctlError) -> Hop:
    """Return the hop of a service that cannot be used."""
    return Hop(name=name, ok=False, detail=error.message, fix=error.fix, exit_code=error.exit_code)


def hop_of_finding(finding: Finding) -> Hop:
    """Return the hop of a finding; one that is only a warning is no failure."""
    is_ok = finding.status is not FindingStatus.FAIL
    return Hop(
        name=finding.name,
        ok=is_ok,
        detail=finding.detail.rstrip("."),
        fix=finding.fix,
        exit_code=ExitCode.DONE if is_ok else ExitCode.FAILED,
    )
