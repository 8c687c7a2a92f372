"""`mailctl send` to many recipients: confirm, record row by row, and sum up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import typer

from mailctl.cli.arguments import read_input_file
from mailctl.cli.commands.preview import show_preview
from mailctl.cli.terminal.confirm import confirm
from mailctl.domain.shell_command import mailctl_command
from mailctl.enqueue.campaign import CampaignRecorder, with_derived_name
from mailctl.enqueue.mailing_list import read_all_users, read_list_file
from mailctl.errors import ExitCode, InvalidInput
from mailctl.timefmt import format_campaign_rate, parse_rate, pluralize

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mailctl.cli.context import CliSession
    from mailctl.cli.send_options import SendOptions
    from mailctl.cli.terminal.output import Output
    from mailctl.domain.models import RowProblem
    from mailctl.domain.request import EmailRequest
    from mailctl.enqueue.campaign import CheckResult, ChunkResult
    from mailctl.enqueue.mailing_list import MailingList
    from mailctl.users import Screening
    from mailctl.views.campaigns import CampaignView

#: How many reasons for leaving out users are shown; a status column may contain any text.
_MAX_REASONS = 10


def send_campaign(session: CliSession, request: EmailRequest, options: SendOptions) -> None:
    """Record the emails of a campaign; with --dry-run, print the first message.

    Raises:
        InvalidInput: the options or the list cannot be used.
        Refused: there are more recipients than --max, or the operator did not confirm.
        Exit: some rows are invalid.
    """
    _refuse_single_email_options(request, options)
    rate = parse_rate(options.rate, field="--rate") if options.rate else None
    screening = options.screening_for(request.kind)
    request, recipients = _read_recipients(session, options.apply_to(request), options, screening=screening)
    recorder = CampaignRecorder(session.runtime, request, rate=rate, screening=screening)
    checked = recorder.check(recipients.rows) if options.strict or options.dry_run else None
    if checked and options.dry_run:
        _show_dry_run(session, recorder, recipients, checked)
        problems: Sequence[RowProblem] = checked.problems
    elif checked and checked.problems:
        _note_problems(session.output, checked.problems)
        count = pluralize(len(checked.problems), "invalid row")
        raise InvalidInput("--users-file", f"has {count}; nothing was sent.", fix="Correct the file.")
    else:
        if options.all_users:
            _confirm_recipients(session.output, request, recipients, is_confirmed=options.yes)
        _note_other_rate(session, request.campaign or "", rate)
        problems = _record(session.output, recorder, request, recipients)
    if problems:
        raise typer.Exit(ExitCode.FAILED)


def _note_other_rate(session: CliSession, campaign: str, rate: float | None) -> None:
    """Say how a repeated command changes the rate of its campaign, or that the rate stays."""
    known = session.runtime.campaigns.find_rate(campaign)
    if known is None or known[0] == rate:
        return
    before, after = (format_campaign_rate(each) for each in (known[0], rate))
    if rate is None:
        text, given = f"stays {before}; change it with", "RATE"
    else:
        text, given = f"changes from {before} to {after}; undo with", "none" if known[0] is None else before
    command = mailctl_command("campaign", "set-rate", arguments=[campaign, given])
    session.output.note(f"The rate of campaign {campaign} {text}: {command}")


def _read_recipients(
    session: CliSession, request: EmailRequest, options: SendOptions, *, screening: Screening
) -> tuple[EmailRequest, MailingList]:
    """Return the request, which gets a name if it has none, and the recipients.

    Raises:
        InvalidInput: the campaign has no name, or the file has no recipients.
        Refused: there are more recipients than --max.
    """
    if options.users_file is not None:
        data = read_input_file(options.users_file, field="--users-file")
        if options.campaign is None:
            request = with_derived_name(request, data)
        recipients = read_list_file(data)
        recipients.refuse_empty(field="--users-file")
    elif options.campaign is None:
        raise InvalidInput(
            "--campaign", "is missing.", fix="Give a name, so that a repeated command sends no second copy."
        )
    else:
        recipients = read_all_users(session.runtime.directory, screening=screening)
    if options.max_ is not None:
        recipients.refuse_more_than(options.max_)
    return request, recipients


def _refuse_single_email_options(request: EmailRequest, options: SendOptions) -> None:
    if options.user_id or options.email or (options.users_file and options.all_users):
        raise InvalidInput(
            "recipients",
            "are given in more than one way.",
            fix="Give one of --user-id, --email, --users-file and --all-users.",
        )
    if options.wait:
        raise InvalidInput(
            "--wait", "applies to single emails only.", fix="Follow with `mailctl list --campaign NAME`."
        )
    if options.idempotency_key:
        raise InvalidInput("--idempotency-key", "applies to single emails only.", fix="Use --campaign NAME.")
    if request.tokens:
        raise InvalidInput("token", "applies to one user only.", fix="Omit it; each email gets its own.")


def _show_dry_run(
    session: CliSession, recorder: CampaignRecorder, recipients: MailingList, checked: CheckResult
) -> None:
    output = session.output
    _note_problems(output, checked.problems)
    envelope = recorder.preview(recipients.rows)
    show_preview(output, [envelope] if envelope else [])
    _note_left_out(output, recipients)
    known = f", {checked.already_recorded} already recorded" if checked.already_recorded else ""
    invalid = pluralize(len(checked.problems), "invalid row")
    output.note(f"{pluralize(checked.new, 'email')} would be sent{known}; {invalid}.")


def _confirm_recipients(
    output: Output, request: EmailRequest, recipients: MailingList, *, is_confirmed: bool
) -> None:
    """Show how many users would get the email, with examples, and ask.

    Raises:
        Refused: the operator did not confirm.
    """
    _note_left_out(output, recipients)
    if is_confirmed:
        return
    if recipients.sample:
        output.note("Examples:" if recipients.recipient_count > len(recipients.sample) else "These are:")
    for user in recipients.sample:
        output.note(f"  {user.email}" + (f"  (user {user.user_id})" if user.user_id else ""))
    if request.kind.links:
        output.note(
            "Each email carries a link that acts on the user's account, and no user has requested it."
        )
    confirm(
        f"Send {request.kind.name} to {pluralize(recipients.recipient_count, 'user')}?",
        is_confirmed=False,
        fix="Add --yes to send, or --dry-run to only see the plan.",
    )


def _note_left_out(output: Output, recipients: MailingList) -> None:
    reasons = recipients.excluded_by_reason.most_common(_MAX_REASONS)
    for reason, number in reasons:
        output.note(f"{number:>6}  left out: {reason}")
    if others := recipients.excluded_by_reason.total() - sum(number for _, number in reasons):
        output.note(f"{others:>6}  left out for other reasons")
    if recipients.is_unscreened:
        output.note(
            "The users table has no column that marks deactivated or deleted users, so all "
            f"{recipients.recipient_count} are included."
        )


@dataclass
class _CampaignTotals:
    """How many rows of a campaign had each outcome."""

    recorded: int = 0
    known: int = 0
    suppressed: int = 0
    problems: list[RowProblem] = field(default_factory=list)

    def add(self, step: ChunkResult) -> None:
        self.recorded += len(step.emails)
        self.known += step.already_recorded
        self.suppressed += step.suppressed
        self.problems += step.problems


def _record(
    output: Output, recorder: CampaignRecorder, request: EmailRequest, recipients: MailingList
) -> list[RowProblem]:
    """Record the rows and print the totals, or how far it got before an interruption; return the problems."""
    totals = _CampaignTotals()
    try:
        with output.progress("rows", total=lambda: recipients.size) as advance:
            for step in recorder.record(recipients.rows):
                totals.add(step)
                output.already_done = (
                    f"Campaign {request.campaign}: {pluralize(totals.recorded, 'email')} recorded before "
                    "that. Repeat the command to continue."
                )
                _show_step(output, request, step)
                advance(step.rows)
    except KeyboardInterrupt:
        output.note(
            f"Stopped: {recorder.rows_in_log} of {recipients.size} recorded, campaign {request.campaign}. "
            "Repeat the command to continue."
        )
        raise
    _show_totals(output, request, recipients, totals)
    return totals.problems


def _show_totals(
    output: Output, request: EmailRequest, recipients: MailingList, totals: _CampaignTotals
) -> None:
    from mailctl.views.campaigns import CampaignView

    summary = CampaignView(
        campaign=request.campaign,
        recorded=totals.recorded,
        known=totals.known,
        suppressed=totals.suppressed,
        left_out=recipients.excluded_by_reason.total(),
        problems=len(totals.problems),
    )
    if output.as_json:
        output.record(summary)
    else:
        output.prose(summary_text(summary), hang=0)


def summary_text(summary: CampaignView) -> str:
    """Return the totals of a campaign in one line."""
    suppressed = summary.suppressed
    parts = [
        f"{pluralize(summary.recorded, 'email')} recorded",
        f"{suppressed} of them suppressed" if suppressed else "",
        f"{summary.known} recorded before" if summary.known else "",
        f"{pluralize(summary.left_out, 'user')} left out" if summary.left_out else "",
        f"{pluralize(summary.problems, 'invalid row')} skipped" if summary.problems else "",
    ]
    return f"{', '.join(part for part in parts if part)}; campaign {summary.campaign}"


def _show_step(output: Output, request: EmailRequest, step: ChunkResult) -> None:
    _note_problems(output, step.problems)
    if output.as_json:
        from mailctl.views.campaigns import CampaignEmailView

        for email_id, address in step.emails:
            output.record(CampaignEmailView(task_id=email_id, to=address, campaign=request.campaign))


def _note_problems(output: Output, problems: Iterable[RowProblem]) -> None:
    for problem in problems:
        output.note(f"line {problem.line}: {problem.reason}")
