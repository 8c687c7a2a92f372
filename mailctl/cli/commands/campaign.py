"""`mailctl campaign`: show campaigns, pause, resume and cancel them, and set their rates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.commands.queue_control import show_pause_change
from mailctl.cli.completion import complete_campaign
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.lazy_commands import CommandGroup
from mailctl.cli.option_groups import ActionOptions, LayoutOptions, with_options
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.shell_command import mailctl_command
from mailctl.operations.identity import current_actor
from mailctl.timefmt import (
    TimeStyle,
    format_campaign_rate,
    format_optional_time,
    format_rate,
    format_share,
    format_time,
    format_time_heading,
    pluralize,
)

if TYPE_CHECKING:
    from mailctl.monitoring.campaigns import CampaignDetails, CampaignStatus
    from mailctl.views.campaigns import CampaignRateView, CampaignStatusView

app = CommandGroup(
    "campaign",
    "List, show, pause, resume and cancel campaigns, and set their rates (default: list).",
    default="list",
)
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The name of the campaign.", autocompletion=complete_campaign)
]
#: The groups of errors that `show` prints.
_MAX_ERRORS = 5


@uses_log(AccessMode.READ)
@with_options
def list_campaigns(session: CliSession, layout: LayoutOptions) -> None:
    """List the campaigns with their progress, newest first.

    Shows how many emails were sent, failed or are waiting, the requested rate and the actual one, and when
    the campaign is expected to end.

    \b
    Examples:
      mailctl campaign
      mailctl campaign list -o csv

    \b
    Exit codes:
      0  The campaigns were printed, if there are any.
      3  There is no delivery log.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl campaign show, mailctl stats, mailctl send
    """
    from mailctl.monitoring.campaigns import list_campaigns as campaigns_of

    layout.apply_to(session, "campaigns:CampaignStatusView")
    found = campaigns_of(session.runtime)
    session.output.listing(map(_view, found), columns=_columns(), rows=map(_row, found))
    if not found:
        session.output.note(
            f"No campaign is recorded in the delivery log at {session.runtime.masked_log_url}."
        )


@uses_log(AccessMode.READ)
def show(session: CliSession, name: NameArgument) -> None:
    """Show the progress of a campaign, and why its emails failed.

    \b
    Examples:
      mailctl campaign show spring
      mailctl campaign show spring --json

    \b
    Exit codes:
      0  The campaign was printed.
      3  There is no such campaign, or no delivery log.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl campaign list, mailctl errors, mailctl list
    """
    from mailctl.monitoring.campaigns import find_campaign

    found = find_campaign(session.runtime, name)
    if session.output.as_json:
        from mailctl.views.campaigns import CampaignDetailsView

        session.output.record(CampaignDetailsView.of_details(found))
    else:
        _show(session, found)


@uses_log(AccessMode.UPDATE)
def pause(
    session: CliSession,
    name: NameArgument,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Reason that is shown while it is paused.")
    ] = "",
) -> None:
    """Pause a campaign on all workers until it is resumed.

    Emails that are being sent are not interrupted. All others wait in the delivery log and use up no
    attempts.

    \b
    Examples:
      mailctl campaign pause spring --reason "wrong link"

    \b
    Exit codes:
      0  The campaign is paused, or was paused already.
      3  There is no such campaign, or no delivery log.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl campaign resume, mailctl campaign set-rate, mailctl queue pause
    """
    from mailctl.operations.pausing import PauseService

    service = PauseService(session.runtime)
    target = service.resolve_campaign(name)
    found, is_new = service.pause(target, actor=current_actor(), reason=" ".join(reason.split()))
    if not is_new:
        session.output.note("It is already paused; nothing was changed.")
    show_pause_change(session, service, target, found, is_paused=True)


@uses_log(AccessMode.UPDATE)
def resume(session: CliSession, name: NameArgument) -> None:
    """Resume a paused campaign.

    \b
    Examples:
      mailctl campaign resume spring

    \b
    Exit codes:
      0  The campaign is resumed.
      3  There is no such campaign, or it is not paused.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl campaign pause, mailctl campaign show
    """
    from mailctl.operations.pausing import PauseService

    service = PauseService(session.runtime)
    target = service.resolve_campaign(name)
    show_pause_change(session, service, target, service.resume(target), is_paused=False)


@uses_log(AccessMode.UPDATE)
@with_options
def cancel(session: CliSession, options: ActionOptions, name: NameArgument) -> None:
    """Cancel the emails of a campaign that have not been sent yet.

    `mailctl release` undoes it.

    \b
    Examples:
      mailctl campaign cancel spring --dry-run
      mailctl campaign cancel spring --yes --reason "wrong segment"

    \b
    Exit codes:
      0  The emails were cancelled, or there was nothing to cancel.
      3  There is no such campaign, or no delivery log.
      4  You did not confirm; nothing was changed.
      5  The delivery log cannot be used.
      130  It was interrupted; what was printed is done.

    \b
    See also:
      mailctl campaign pause, mailctl release, mailctl cancel
    """
    from mailctl.cli.action_runner import run_action
    from mailctl.delivery_log.queries.search import EmailFilter
    from mailctl.domain.eligibility import CANCEL

    run_action(session, CANCEL, options, filters=EmailFilter(campaign=name))


@uses_log(AccessMode.UPDATE)
def set_rate(
    session: CliSession,
    name: NameArgument,
    rate: Annotated[
        str,
        typer.Argument(
            metavar="RATE",
            help="The rate of all workers together, such as 50/s or 3000/m; none for no limit.",
        ),
    ],
) -> None:
    """Change how fast a campaign is sent, while it is being sent.

    \b
    Examples:
      mailctl campaign set-rate spring 10/s
      mailctl campaign set-rate spring none

    \b
    Exit codes:
      0  The rate is changed.
      2  The rate is invalid.
      3  There is no such campaign, or no delivery log.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl campaign show, mailctl campaign pause
    """
    from mailctl.operations.campaign_rate import change_rate
    from mailctl.timefmt import parse_rate

    wanted = None if rate == "none" else parse_rate(rate, field="RATE")
    before = change_rate(session.runtime, name, wanted)
    change = f"is now {format_campaign_rate(wanted)}; it was {format_campaign_rate(before)}."
    text = f"The rate of campaign {name} {change}"
    if session.output.as_json:
        session.output.record(_rate_view(name, rate=wanted, before=before))
    else:
        session.output.prose(text, hang=0)


app.add("list", list_campaigns)
app.add("show", show)
app.add("pause", pause)
app.add("resume", resume)
app.add("cancel", cancel)
app.add("set-rate", set_rate)


def _columns() -> list[str]:
    numbers = ["emails", "done", "sent", "failed", "bounced", "waiting", "rate", "actual"]
    return ["campaign", "kind", *numbers, format_time_heading("ends"), ""]


def _row(campaign: CampaignStatus) -> list[str]:
    end = campaign.expected_end
    return [
        campaign.name,
        campaign.kind or "",
        str(campaign.total),
        f"{campaign.progress:.0%}",
        str(campaign.sent - campaign.captured),
        str(campaign.failed or ""),
        str(campaign.bounced or ""),
        str(campaign.waiting or ""),
        format_campaign_rate(campaign.rate),
        _kept(campaign),
        format_time(end, TimeStyle.DAY_SECOND) if end else "",
        ", ".join(_marks(campaign)),
    ]


def _kept(campaign: CampaignStatus) -> str:
    return f"{format_rate(campaign.kept_rate)}/s" if campaign.waiting else ""


def _marks(campaign: CampaignStatus) -> list[str]:
    marks = {"paused": campaign.pause, "failing": campaign.is_failing, "behind": campaign.is_behind}
    counts = {"captured": campaign.captured, "cancelled": campaign.cancelled}
    return [
        *(mark for mark, is_set in marks.items() if is_set),
        *(f"{count} {name}" for name, count in counts.items() if count),
    ]


def _show(session: CliSession, found: CampaignDetails) -> None:
    status, output = found.status, session.output
    states = ", ".join(f"{count} {state}" for state, count in sorted(status.states.items()))
    failed = (
        f"{status.failed}  {format_share(status.failed_share)} of those that have ended failed or bounced"
    )
    output.fields(
        [
            ("campaign", status.name),
            ("kind", status.kind or ""),
            ("started", format_optional_time(status.created_at)),
            ("progress", f"{status.progress:.0%} of {pluralize(status.total, 'email')}: {states}"),
            ("failed", failed if status.failed or status.bounced else "0"),
            ("bounced", str(status.bounced or "")),
            ("complained", str(status.complained or "")),
            ("rate", format_campaign_rate(status.rate)),
            ("actual rate", _kept(status)),
            ("expected end", _expected_end(status)),
            ("paused", "" if status.pause is None else str(status.pause)),
        ]
    )
    for group in found.errors[:_MAX_ERRORS]:
        output.line()
        output.prose(f"{pluralize(group.emails, 'email')}  {group.text} ({group.trend})", hang=2)
        output.line(f"  -> {group.command}")


def _expected_end(status: CampaignStatus) -> str:
    if status.expected_end is None:
        is_stopped = bool(status.waiting) and not status.is_served
        return f"unknown: no worker is alive; start one: {mailctl_command('worker')}" if is_stopped else ""
    basis = "requested" if status.is_at_rate else "actual"
    return f"{format_optional_time(status.expected_end)}, at the {basis} rate"


def _view(campaign: CampaignStatus) -> CampaignStatusView:
    from mailctl.views.campaigns import CampaignStatusView

    return CampaignStatusView.of(campaign)


def _rate_view(name: str, *, rate: float | None, before: float | None) -> CampaignRateView:
    from mailctl.views.campaigns import CampaignRateView

    return CampaignRateView(campaign=name, rate=rate, rate_before=before)
