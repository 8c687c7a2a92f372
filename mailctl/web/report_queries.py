"""The query parameters of the statistics and of the list of suppressed addresses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import Query

from mailctl import runtime
from mailctl.delivery_log.queries.stat_models import Dimension
from mailctl.delivery_log.suppressions import SuppressionSource
from mailctl.domain.choices import require_choice
from mailctl.domain.shell_command import mailctl_command
from mailctl.monitoring.stats import make_report
from mailctl.timefmt import parse_past_time
from mailctl.web.filters import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE

if TYPE_CHECKING:
    from mailctl.delivery_log.suppressions import SuppressionPage
    from mailctl.delivery_log.unsubscribes import UnsubscribePage
    from mailctl.domain.shell_command import ShellCommand
    from mailctl.monitoring.stats import StatsReport

_DEFAULT_PERIOD = "24h"
_MAX_GROUPS = 100
#: Lists recipients who have unsubscribed, instead of suppressed addresses.
UNSUBSCRIBED = "unsubscribed"


@dataclass(frozen=True, kw_only=True)
class StatsQuery:
    """The parameters of the statistics, as text; the fields that a form left empty are ""."""

    since: str = _DEFAULT_PERIOD
    until: str = ""
    by: Dimension = Dimension.KIND
    limit: int = 24

    def report(self) -> StatsReport:
        """Return the statistics.

        Raises:
            InvalidInput: a time is invalid, or the period ends before it begins.
        """
        now = datetime.now(UTC)
        return make_report(
            runtime.current(),
            self.by,
            since=parse_past_time(self.since, field="since", now=now),
            until=parse_past_time(self.until, field="until", now=now) if self.until else now,
            limit=self.limit,
        )

    def command(self) -> ShellCommand:
        """Return the command that prints the same statistics."""
        return mailctl_command("stats", since=self.since, until=self.until, by=self.by)


def read_stats_query(
    since: Annotated[
        str, Query(max_length=64, description="A duration such as 24h, or an ISO 8601 time.")
    ] = _DEFAULT_PERIOD,
    until: Annotated[
        str, Query(max_length=64, description="A duration such as 1h, or an ISO 8601 time; default: now.")
    ] = "",
    by: Dimension = Dimension.KIND,
    limit: Annotated[int, Query(ge=1, le=_MAX_GROUPS, description="The maximum number of groups.")] = 24,
) -> StatsQuery:
    """Return the parameters of the statistics from the query string."""
    return StatsQuery(since=since.strip() or _DEFAULT_PERIOD, until=until.strip(), by=by, limit=limit)


@dataclass(frozen=True, kw_only=True)
class SuppressionQuery:
    """The parameters of a list of suppressed addresses, or of recipients who have unsubscribed."""

    source: str = ""
    limit: int = DEFAULT_PAGE_SIZE
    after: str | None = None

    def page(self) -> SuppressionPage:
        """Return the page of the list.

        Raises:
            InvalidInput: there is no such source.
        """
        if self.source:
            require_choice(self.source, SuppressionSource, noun="source")
        return runtime.current().suppressions.page(
            limit=self.limit, after=self.after, source=SuppressionSource(self.source) if self.source else None
        )

    def unsubscribes(self) -> UnsubscribePage:
        """Return the page of the list of recipients who have unsubscribed."""
        return runtime.current().unsubscribes.page(limit=self.limit, after=self.after)


_Limit = Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE)]
_After = Annotated[
    str | None,
    Query(
        max_length=420,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="The value of `next` of the previous page.",
    ),
]


def read_suppression_query(
    source: Annotated[str, Query(json_schema_extra={"enum": ["", *SuppressionSource]})] = "",
    limit: _Limit = DEFAULT_PAGE_SIZE,
    after: _After = None,
) -> SuppressionQuery:
    """Return the parameters of a list of suppressed addresses from the query string."""
    return SuppressionQuery(source=source, limit=limit, after=after)


def read_unsubscribe_query(limit: _Limit = DEFAULT_PAGE_SIZE, after: _After = None) -> SuppressionQuery:
    """Return the parameters of a list of recipients who have unsubscribed from the query string."""
    return SuppressionQuery(source=UNSUBSCRIBED, limit=limit, after=after)
