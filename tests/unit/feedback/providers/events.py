"""Events that tests send to a provider, and what comes out, as short as it can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests import webhooks

if TYPE_CHECKING:
    from mailctl.feedback.models import Feedback


def reports_of(provider: str, payload: Any) -> tuple[Feedback, ...]:
    """Return what a request with an event, or a list of events, reports."""
    return webhooks.make_provider(provider).receive(webhooks.make_request(provider, payload)).reports


def meaning_of(provider: str, payload: Any) -> str:
    """Return the kind of the only report of an event, and whether a bounce is hard or soft; "" for none."""
    reports = reports_of(provider, payload)
    if not reports:
        return ""
    [report] = reports
    hardness = {True: " hard", False: " soft", None: ""}[report.is_permanent]
    return f"{report.kind}{hardness}"
