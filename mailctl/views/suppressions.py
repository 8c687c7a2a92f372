"""Suppressed addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from mailctl.delivery_log.suppressions import SuppressionScope, SuppressionSource
from mailctl.views.base import Count, Timestamp, View
from mailctl.views.row_problems import RowProblemView

if TYPE_CHECKING:
    from mailctl.delivery_log.suppressions import SuppressionPage
    from mailctl.delivery_log.unsubscribes import UnsubscribePage


class SuppressionView(View):
    """A suppressed address: no email is sent to it."""

    address: str
    reason: str
    source: SuppressionSource
    code: int | None = Field(description="The SMTP reply code of a bounce.")
    enhanced: str | None = Field(description="The enhanced status code of a bounce.")
    actor: str | None = Field(description="The operator who added the address.")
    created_at: Timestamp
    scope: SuppressionScope = Field(
        description="all, or optional: only emails that the recipient may unsubscribe from."
    )
    email_id: str | None = Field(description="The email whose feedback is the evidence.")


class UnsubscribeView(View):
    """A recipient who has unsubscribed from a kind: no email of that kind is sent to the address."""

    address: str
    kind: str
    email_id: str | None = Field(description="The email by which the recipient unsubscribed.")
    created_at: Timestamp


class UnsubscribePageView(View):
    """A page of recipients who have unsubscribed."""

    unsubscribes: list[UnsubscribeView]
    next: str | None = Field(description="The value of `after` for the next page; null on the last page.")

    @classmethod
    def of(cls, page: UnsubscribePage) -> UnsubscribePageView:
        """Return the view of a page."""
        entries = [UnsubscribeView.model_validate(entry) for entry in page.entries]
        return cls(unsubscribes=entries, next=page.cursor)


class SuppressionPageView(View):
    """A page of suppressed addresses."""

    suppressions: list[SuppressionView]
    next: str | None = Field(description="The value of `after` for the next page; null on the last page.")

    @classmethod
    def of(cls, page: SuppressionPage) -> SuppressionPageView:
        """Return the view of a page."""
        entries = [SuppressionView.model_validate(entry) for entry in page.entries]
        return cls(suppressions=entries, next=page.cursor)


class SuppressionChangeView(View):
    """The result of adding or removing an address."""

    address: str
    changed: bool = Field(
        description="Whether the list changed; false if the address was on it already, or not on it."
    )


class SuppressionImportView(View):
    """The result of importing a list of addresses."""

    added: Count
    known: Count = Field(description="Addresses that were already suppressed.")
    problems: list[RowProblemView]
