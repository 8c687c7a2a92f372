"""`mailctl check-config`: does the set-up work?"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import ExitCode

if TYPE_CHECKING:
    from mailctl.checks import Finding


class ProfileName(StrEnum):
    """The profiles, as one writes them."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


@uses_log(AccessMode.READ)
def check_config(
    session: CliSession,
    profile: Annotated[
        ProfileName | None, typer.Option("--profile", help="Check as if DEBUG said this.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nobody over the network.")] = False,
    send_test: Annotated[
        str | None, typer.Option("--send-test", metavar="ADDRESS", help="Send one message there.")
    ] = None,
) -> None:
    """Check settings, app, broker, log, users, templates, mail server and workers; faults with their fix."""
    from mailctl.checks import is_ok, run_checks
    from mailctl.settings import Profile

    settings = session.settings
    if profile is not None:
        settings = settings.for_profile(Profile(profile))
    findings: list[Finding] = []
    for finding in run_checks(settings, offline=offline, send_test=send_test):
        _show(session, finding, is_new_group=not findings or findings[-1].group != finding.group)
        findings.append(finding)
    if session.output.as_json:
        from mailctl.views.checks import CheckReportView

        session.output.record(CheckReportView.of(findings, profile=settings.profile))
    else:
        _show_summary(session, findings)
    if not is_ok(findings):
        raise typer.Exit(ExitCode.FAILED)


def _show(session: CliSession, finding: Finding, *, is_new_group: bool) -> None:
    if session.output.as_json:
        return
    if is_new_group:
        session.output.line()
        session.output.line(finding.group)
    session.output.state(f"{finding.status:<4}", f"{finding.name}: {finding.detail}")
    if finding.fix:
        session.output.line(f"      -> {finding.fix}")


def _show_summary(session: CliSession, findings: list[Finding]) -> None:
    from mailctl.checks import FindingStatus

    count = {status: sum(finding.status is status for finding in findings) for status in FindingStatus}
    session.output.line()
    session.output.line(", ".join(f"{number} {status}" for status, number in count.items() if number))
