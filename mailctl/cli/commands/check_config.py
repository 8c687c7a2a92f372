"""`mailctl check-config`: check the configuration."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.completion import complete_profile
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.option_groups import YesOption
from mailctl.cli.terminal.confirm import confirm
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.choices import require_choice
from mailctl.errors import ExitCode, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mailctl.checks.finding import Finding
    from mailctl.cli.terminal.output import Output


@uses_log(AccessMode.READ)
def check_config(
    session: CliSession,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="PROFILE",
            autocompletion=complete_profile,
            help="Check against this profile, development or production, whatever DEBUG selects.",
        ),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not connect to any service.")] = False,
    send_test: Annotated[
        str | None,
        typer.Option("--send-test", metavar="ADDRESS", help="Send a test message to this address."),
    ] = None,
    dns: Annotated[
        bool,
        typer.Option(
            "--dns",
            help="Also ask DNS about the domains of the senders: SPF, DKIM, DMARC, MX and reverse names.",
        ),
    ] = False,
    dns_server: Annotated[
        str,
        typer.Option(
            "--dns-server",
            metavar="ADDRESS",
            help="Ask this DNS server, with --dns; default: those of this host.",
        ),
    ] = "",
    yes: YesOption = False,
) -> None:
    """Check the configuration and suggest fixes.

    Checks the settings, the Celery app, the broker, the delivery log, users, templates, the mail server and
    the workers. Exits with 1 if a check fails. With --dns it asks for confirmation first, because
    DNS servers learn the domains.

    \b
    Examples:
      mailctl check-config
      mailctl check-config --profile production --offline
      mailctl check-config --send-test ops@example.com
      mailctl check-config --dns --yes

    \b
    Exit codes:
      0  No check failed; warnings are possible.
      1  A check failed.
      4  You did not confirm the DNS queries.

    \b
    See also:
      mailctl health, mailctl worker
    """
    from mailctl.checks.dns import describe_dns_questions
    from mailctl.checks.finding import is_ok
    from mailctl.checks.run_checks import run_checks
    from mailctl.settings import Profile

    chosen = Profile(require_choice(profile, list(Profile), noun="profile")) if profile else None
    settings = session.settings.for_profile(chosen) if chosen else session.settings
    if dns_server and not dns:
        raise InvalidInput("--dns-server", "applies to --dns only.", fix="Give --dns with it.")
    if dns and not offline and not yes:
        confirm(f"Ask DNS about {describe_dns_questions(settings)}?", is_confirmed=False)
    found = run_checks(settings, offline=offline, send_test=send_test, dns=dns, dns_server=dns_server)
    findings = _show_findings(session.output, found)
    if session.output.as_json:
        from mailctl.views.checks import CheckReportView

        session.output.record(CheckReportView.of(findings, profile=settings.profile))
    else:
        _show_summary(session.output, findings)
    if not is_ok(findings):
        raise typer.Exit(ExitCode.FAILED)


def _show_findings(output: Output, findings: Iterable[Finding]) -> list[Finding]:
    """Print findings as they come, under the heading of their group; return all of them."""
    shown: list[Finding] = []
    for finding in findings:
        if not output.as_json:
            if not shown or shown[-1].group != finding.group:
                output.line(f"\n{finding.group}")
            _show_finding(output, finding)
        shown.append(finding)
    return shown


def _show_finding(output: Output, finding: Finding) -> None:
    output.state(f"{finding.status:<4}", f"{finding.name}: {finding.detail}")
    if finding.fix:
        output.fix(finding.fix, indent="      -> ")


def _show_summary(output: Output, findings: Sequence[Finding]) -> None:
    from mailctl.checks.finding import FindingStatus

    count = Counter(finding.status for finding in findings)
    output.line("\n" + ", ".join(f"{count[status]} {status}" for status in FindingStatus if count[status]))
