"""`mailctl errors`: list failures and deferrals in groups."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.option_groups import LayoutOptions, with_options
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.timefmt import TimeStyle, format_time, format_time_heading, pluralize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailctl.monitoring.errors import ErrorGroup
    from mailctl.views.errors import ErrorGroupView


@uses_log(AccessMode.READ)
@with_options
def errors(
    session: CliSession,
    layout: LayoutOptions,
    since: Annotated[
        str,
        typer.Option(
            "--since",
            metavar="WHEN",
            help="Failures since WHEN: 24h, 10:02, today, yesterday, or an ISO 8601 time.",
        ),
    ] = "24h",
    campaign: Annotated[
        str | None, typer.Option("--campaign", metavar="NAME", help="Only emails of this campaign.")
    ] = None,
    limit: Annotated[
        int,
        typer.Option("--limit", min=1, max=1000, metavar="NUMBER", help="Maximum number of groups to list."),
    ] = 20,
) -> None:
    """List failures and deferrals in groups of the same cause, the most frequent first.

    A group has the same SMTP stage, reply code, enhanced status code, domain and wording; addresses and
    numbers are ignored. Each group is followed by the command that deals with it.

    \b
    Examples:
      mailctl errors
      mailctl errors --since today --campaign spring
      mailctl errors -o csv > errors.csv

    \b
    Exit codes:
      0  The groups were printed, if there are any.
      2  A time is invalid.
      3  There is no such campaign, or no delivery log.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl incident, mailctl list, mailctl stats, mailctl retry
    """
    from mailctl.monitoring.errors import find_errors
    from mailctl.operations.known_names import check_campaign
    from mailctl.timefmt import parse_past_time

    layout.apply_to(session, "errors:ErrorGroupView")
    start = parse_past_time(since, field="--since", now=datetime.now(UTC))
    if campaign is not None:
        check_campaign(session.runtime, campaign)
    found = find_errors(session.runtime, since=start, campaign=campaign)
    session.output.listing(map(_view, found[:limit]), columns=_columns(), rows=_rows(session, found[:limit]))
    if not found:
        session.output.note(f"No attempt has failed since {format_time(start, TimeStyle.SENTENCE)}.")
    elif len(found) > limit:
        session.output.note(f"{pluralize(len(found) - limit, 'more group')}: add --limit {len(found)}")


def _columns() -> list[str]:
    times = [format_time_heading(name) for name in ("first", "last")]
    return ["emails", "trend", *times, "where", "error", "kinds", "such as", "next step"]


def _view(group: ErrorGroup) -> ErrorGroupView:
    from mailctl.views.errors import ErrorGroupView

    return ErrorGroupView.of(group)


def _rows(session: CliSession, groups: Sequence[ErrorGroup]) -> Iterator[list[str]]:
    short_ids = session.runtime.history.short_ids(each for group in groups for each in group.sample_ids[:1])
    for group in groups:
        place = " ".join(filter(None, (group.fingerprint.stage, group.fingerprint.domain)))
        yield [
            str(group.emails),
            group.trend,
            format_time(group.first_at, TimeStyle.DAY_SECOND),
            format_time(group.last_at, TimeStyle.DAY_SECOND),
            place,
            group.text,
            ", ".join(group.kinds),
            short_ids[group.sample_ids[0]],
            str(group.command),
        ]
