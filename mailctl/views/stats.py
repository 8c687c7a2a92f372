"""Statistics: counts and latencies of the emails of a period."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, WithJsonSchema

from mailctl.delivery_log.queries.stat_models import Dimension
from mailctl.domain.states import State
from mailctl.views.base import Count, Seconds, Share, Timestamp, View

if TYPE_CHECKING:
    from mailctl.delivery_log.queries.stat_models import StatsGroup
    from mailctl.monitoring.stats import StatsReport

#: A number of emails of a state that has any.
_StateCount = Annotated[int, WithJsonSchema({"type": "integer", "minimum": 1})]
#: Emails by state; states without emails are left out.
StateCounts = dict[State, _StateCount]


class TotalsView(View):
    """How many emails there are, by outcome."""

    recorded: Count
    sent: Count = Field(description="Accepted by a mail server.")
    delivered: Count = Field(description="Of those sent: arrived, as feedback says.")
    bounced: Count = Field(description="Of those sent: given up later, as feedback says.")
    complained: Count = Field(description="Of those sent: marked as spam by their recipients.")
    delivered_rate: Share | None = Field(
        description="The share of delivered in sent; null if there are none."
    )
    bounced_rate: Share | None = Field(description="The share of bounced in sent; null if there are none.")
    complained_rate: Share | None = Field(
        description="The share of complained in sent; null if there are none."
    )
    captured: Count = Field(description="Written to files instead of being sent.")
    failed: Count = Field(description="Failed or expired.")
    unconfirmed: Count = Field(description="Neither known to be sent nor to have failed.")
    unfinished: Count
    failure_rate: Share | None = Field(
        description="The share of failed in sent, captured and failed; null if there are none."
    )
    states: StateCounts


class LatencyView(View):
    """Seconds from the time when an email is due to the time when the mail server accepts it."""

    count: Count = Field(description="How many emails were measured.")
    p50: Seconds | None
    p95: Seconds | None
    p99: Seconds | None
    longest: Seconds | None


class StatsGroupView(TotalsView):
    """The emails with the same value of the dimension."""

    name: str = Field(description="The value; empty for emails without one, such as those of no campaign.")
    share: Share = Field(description="The share of all emails of the period.")
    totals: TotalsView = Field(description="The same counts in one object.")

    @classmethod
    def of(cls, group: StatsGroup) -> StatsGroupView:
        """Return the view of a group."""
        totals = TotalsView.model_validate(group.totals)
        return cls(**dict(totals), name=group.name, share=group.share, totals=totals)


class StatsPointView(View):
    """The emails that were recorded in one interval, and their outcome so far."""

    at: Timestamp = Field(description="The start of the interval.")
    recorded: Count
    sent: Count
    captured: Count
    failed: Count


class StatsView(TotalsView):
    """The statistics of a period."""

    since: Timestamp
    until: Timestamp
    totals: TotalsView = Field(description="The same counts in one object.")
    latency: LatencyView
    by: Dimension
    groups: list[StatsGroupView]
    bucket_seconds: Count = Field(description="The length of the interval of each point.")
    points: list[StatsPointView] = Field(json_schema_extra={"minItems": 1})

    @classmethod
    def of(cls, report: StatsReport) -> StatsView:
        """Return the view of a report."""
        totals = TotalsView.model_validate(report.totals)
        return cls(
            **dict(totals),
            since=report.since,
            until=report.until,
            totals=totals,
            latency=LatencyView.model_validate(report.latency),
            by=report.dimension,
            groups=[StatsGroupView.of(group) for group in report.groups],
            bucket_seconds=int(report.bucket.total_seconds()),
            points=[StatsPointView.model_validate(point) for point in report.points],
        )
