"""The maintenance of the delivery log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from mailctl.views.base import Count, View

if TYPE_CHECKING:
    from mailctl.delivery_log.rekey import RekeyResult
    from mailctl.delivery_log.retention import PrunableCounts
    from mailctl.delivery_log.storage.schema_version import SchemaVersion


class SchemaVersionView(View):
    """The version of the database schema of the delivery log."""

    current: str | None = Field(description="The version of the database; null if it has no schema.")
    head: str = Field(description="The version that this mailctl needs.")
    ok: bool

    @classmethod
    def of(cls, version: SchemaVersion) -> SchemaVersionView:
        """Return the view of a version."""
        return cls(current=version.current, head=version.head, ok=version.is_current)


class RekeyView(View):
    """The result of re-encrypting the contents with the newest key."""

    resealed: Count = Field(description="Contents that were encrypted with an older key.")
    current: Count = Field(description="Contents that were already encrypted with the newest key.")
    unreadable: list[str] = Field(description="The ids of the emails whose content no known key decrypts.")
    dry_run: bool

    @classmethod
    def of(cls, result: RekeyResult, *, dry_run: bool) -> RekeyView:
        """Return the view of a result."""
        return cls(
            resealed=result.outdated,
            current=result.current,
            unreadable=list(result.unreadable),
            dry_run=dry_run,
        )


class PruneView(View):
    """The result of deleting finished emails."""

    emails: Count = Field(description="Emails that were deleted.")
    contents: Count = Field(description="Emails of which only the content was deleted.")
    link_uses: Count = Field(description="Used links that were deleted.")
    dry_run: bool

    @classmethod
    def of(cls, counts: PrunableCounts, *, dry_run: bool) -> PruneView:
        """Return the view of the counts."""
        return cls(
            emails=counts.emails, contents=counts.contents, link_uses=counts.link_uses, dry_run=dry_run
        )
