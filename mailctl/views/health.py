"""Health checks and thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from mailctl.views.base import Seconds, View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailctl.monitoring.hops import Hop
    from mailctl.monitoring.thresholds import ThresholdCheck


class HopView(View):
    """One service on the path of an email, or one step of a canary."""

    name: str
    ok: bool
    detail: str
    fix: str = Field(description="What to do; empty if there is nothing to do.")
    seconds: Seconds | None = Field(description="How long it took to answer; null if that was not measured.")


class HealthView(View):
    """The health of every service on the path of an email."""

    ok: bool
    stage: str | None = Field(description="The first hop that failed.")
    hops: list[HopView] = Field(json_schema_extra={"minItems": 1})

    @classmethod
    def of(cls, hops: Sequence[Hop]) -> HealthView:
        """Return the view of the hops that were checked."""
        failed = next((hop.name for hop in hops if not hop.ok), None)
        return cls(ok=failed is None, stage=failed, hops=[HopView.model_validate(hop) for hop in hops])


class ThresholdView(View):
    """One threshold of `mailctl monitor`."""

    name: str
    value: float | None = Field(description="A number, seconds or a share; null if there is no data.")
    limit: float
    ok: bool
    reason: str


class MonitorView(View):
    """Whether every threshold is met."""

    ok: bool
    checks: list[ThresholdView] = Field(json_schema_extra={"minItems": 1})

    @classmethod
    def of(cls, checks: Sequence[ThresholdCheck]) -> MonitorView:
        """Return the view of the thresholds that were checked."""
        return cls(
            ok=all(check.ok for check in checks),
            checks=[ThresholdView.model_validate(check) for check in checks],
        )
