"""`mailctl send` to many: rows in, what became of each out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from mailctl.cli.arguments import read_input_file
from mailctl.cli.commands.preview import show_preview
from mailctl.cli.terminal.confirm import confirm
from mailctl.errors import ExitCode, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailctl.cli.context import CliSession
    from mailctl.cli.send_options import SendOptions
    from mailctl.domain.models import RowProblem
    from mailctl.domain.request import EmailRequest
    from mailctl.enqueue.campaign import CampaignRecorder, ChunkResult
    from mailctl.enqueue.mailing_list import MailingList
    from mailctl.users import Screening
    from mailctl.views.campaigns import CampaignView

#: A status may be any text: no more reasons are told, the most frequent ones.
_MAX_REASONS = 10


def send_campaign(session: CliSession, request: EmailRequest, common: SendOptions) -> None:
    """Record the emails of a campaign, or with --dry-run show the first of them."""
    from mailctl.enqueue.campaign import CampaignRecorder
    from mailctl.timefmt import parse_rate, pluralize
    from mailctl.users import screening_for

    _refuse_single_email_options(request, common)
    rate = parse_rate(common.rate, field="--rate") if common.rate else None
    screening = screening_for(request.kind.name, include_inactive=common.include_inactive)
    request, addressees = _request_and_list(session, common.apply_to(request), common, screening=screening)
    if common.users_file is not None:
        addressees.refuse_empty(field="--users-file")
    if common.max_ is not None:
        addressees.refuse_more_than(common.max_)
    campaign = CampaignRecorder(session.runtime, request, rate=rate, screening=screening)
    checked = campaign.check(addressees.rows) if common.strict or common.dry_run else None
    problems = list(checked.problems) if checked else []
    if checked and common.dry_run:
        _note_problems(session, problems)
        envelope = campaign.preview(addressees.rows)
        show_preview(session, [envelope] if envelope else [])
        _note_left_out(session, addressees)
        known = checked.already_recorded
        in_already = f", {known} {'is' if known == 1 else 'are'} in already"
        session.output.note(
            f"{pluralize(checked.new, 'email')} would go out{in_already if known else ''}; "
            f"{pluralize(len(problems), 'bad row')}."
        )
    elif problems:
        _note_problems(session, problems)
        raise InvalidInput(
            "--users-file", f"has {pluralize(len(problems), 'bad row')}; nothing is sent.", fix="Mend them."
        )
    else:
        if common.all_users:
            _confirm_recipients(session, request, addressees, is_sure=common.yes)
        problems = _record(session, campaign, request, addressees)
    if problems:
        raise typer.Exit(ExitCode.FAILED)


def _request_and_list(
    session: CliSession, request: EmailRequest, common: SendOptions, *, screening: Screening
) -> tuple[EmailRequest, MailingList]:
    """Return the request with the name of its campaign, and the list of its recipients."""
    from mailctl.enqueue.campaign import with_derived_name
    from mailctl.enqueue.mailing_list import read_all_users, read_list_file

    if common.users_file is not None:
        data = read_input_file(common.users_file, field="--users-file")
        named = request if common.campaign is not None else with_derived_name(request, data)
        return named, read_list_file(data)
    if common.campaign is None:
        raise InvalidInput(
            "--campaign", "is missing.", fix="Name it, so that running it again sends no second copy."
        )
    return request, read_all_users(session.runtime.directory, screening=screening)


def _confirm_recipients(
    session: CliSession, request: EmailRequest, users: MailingList, *, is_sure: bool
) -> None:
    """Show how many users would get an email, and who; go on if that is what the operator means.

    Raises:
        Refused: it is not, or nobody is there to be asked.
    """
    from mailctl.timefmt import pluralize

    _note_left_out(session, users)
    if is_sure:
        return
    if users.sample:
        session.output.note("Such as:" if users.recipient_count > len(users.sample) else "These:")
    for user in users.sample:
        session.output.note(f"  {user.email}" + (f"  (user {user.user_id})" if user.user_id else ""))
    if request.kind.links:
        session.output.note(
            "Each email carries a personal link that acts on the account, and nobody has asked for it."
        )
    confirm(
        f"Send {request.kind.name} to {pluralize(users.recipient_count, 'user')}?",
        is_sure=False,
        fix="Add --yes to send, or --dry-run to only look.",
    )


def _note_left_out(session: CliSession, users: MailingList) -> None:
    told = users.excluded_by_reason.most_common(_MAX_REASONS)
    for reason, number in told:
        session.output.note(f"{number:>6}  left out: {reason}")
    if others := users.excluded_by_reason.total() - sum(number for _, number in told):
        session.output.note(f"{others:>6}  left out for other reasons")
    if users.is_unscreened:
        session.output.note(
            f"No column says who is deactivated or deleted: all {users.recipient_count} are mailed."
        )


def _refuse_single_email_options(request: EmailRequest, common: SendOptions) -> None:
    if common.user_id or common.email or (common.users_file and common.all_users):
        raise InvalidInput(
            "recipient",
            "is given twice.",
            fix="Give one of --user-id, --email, --users-file and --all-users.",
        )
    if common.wait:
        raise InvalidInput("--wait", "is for one email.", fix="Follow with `mailctl list --campaign NAME`.")
    if common.idempotency_key:
        raise InvalidInput("--idempotency-key", "is for one email.", fix="Use --campaign NAME.")
    if request.tokens:
        raise InvalidInput("token", "belongs to one user.", fix="Leave it out; each email gets its own.")


def _record(
    session: CliSession, campaign: CampaignRecorder, request: EmailRequest, addressees: MailingList
) -> list[RowProblem]:
    """Record row by row, and say what became of them, also when it is cut short."""
    from mailctl.timefmt import pluralize
    from mailctl.views.campaigns import CampaignView

    new, known, suppressed, problems = 0, 0, 0, list[Any]()
    try:
        with session.output.progress("recorded", total=lambda: addressees.size) as advance:
            for step in campaign.record(addressees.rows):
                new, known = new + len(step.emails), known + step.already_recorded
                problems += step.problems
                suppressed += step.suppressed
                session.output.already_done = (
                    f"Campaign {request.campaign}: {pluralize(new, 'email')} recorded all the same. "
                    "The same command goes on with the rest."
                )
                _show_recorded(session, request, step)
                advance(step.rows)
    except KeyboardInterrupt:
        done = f"{campaign.rows_in_log} of {addressees.size}"
        session.output.note(f"Stopped: {done} are in, campaign {request.campaign}. The same command goes on.")
        raise
    summary = CampaignView(
        campaign=request.campaign,
        recorded=new,
        known=known,
        suppressed=suppressed,
        left_out=addressees.excluded_by_reason.total(),
        problems=len(problems),
    )
    if session.output.as_json:
        session.output.record(summary)
    else:
        session.output.prose(_summary_text(summary), hang=0)
    return problems


def _summary_text(summary: CampaignView) -> str:
    from mailctl.timefmt import pluralize

    known, suppressed = summary.known, summary.suppressed
    parts = [
        pluralize(summary.recorded, "email")
        + " recorded"
        + (f", {suppressed} of them suppressed" if suppressed else ""),
        f"{known} {'was' if known == 1 else 'were'} in already" if known else "",
        pluralize(summary.left_out, "user") + " left out" if summary.left_out else "",
        pluralize(summary.problems, "bad row") + " skipped" if summary.problems else "",
    ]
    return f"{', '.join(part for part in parts if part)}; campaign {summary.campaign}"


def _show_recorded(session: CliSession, request: EmailRequest, step: ChunkResult) -> None:
    _note_problems(session, step.problems)
    if session.output.as_json:
        from mailctl.views.campaigns import CampaignEmailView

        for email_id, address in step.emails:
            session.output.record(CampaignEmailView(task_id=email_id, to=address, campaign=request.campaign))


def _note_problems(session: CliSession, problems: Iterable[RowProblem]) -> None:
    for problem in problems:
        session.output.note(f"line {problem.line}: {problem.reason}")
