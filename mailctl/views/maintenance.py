"""The maintenance of the delivery log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from mailctl.domain.partition_actions import PartitionAction
from mailctl.views.base import Count, View

if TYPE_CHECKING:
    from mailctl.delivery_log.rekey import RekeyResult
    from mailctl.delivery_log.retention import PrunableCounts
    from mailctl.delivery_log.storage.partitions.planning import PartitionPlan
    from mailctl.delivery_log.storage.schema_version import SchemaVersion


class SchemaVersionView(View):
    """The version of the database schema of the delivery log."""

    current: str | None = Field(description="The version of the database; null if it has no schema.")
    head: str = Field(description="The version that this mailctl needs.")
    ok: bool
    partition_days: int | None = Field(description="The days of a partition; null without partitions.")

    @classmethod
    def of(cls, version: SchemaVersion) -> SchemaVersionView:
        """Return the view of a version."""
        return cls(
            current=version.current,
            head=version.head,
            ok=version.is_current,
            partition_days=version.partition_days,
        )


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


class PartitionView(View):
    """What `db partition` has done, or would do."""

    action: PartitionAction = Field(
        description="convert: the log gets partitions, or a conversion to them continues; create: it has "
        "them, and those of the next days are created if they are missing; undo: it loses them; discard: an "
        "unfinished conversion is discarded; nothing: it has none, and should have none."
    )
    days: int | None = Field(description="The days of a partition; null without partitions.")
    partitions: Count = Field(description="Partitions that are created.")
    rows: Count = Field(description="Rows that are copied, as the database estimates them.")
    bytes: Count = Field(description="The size of the tables that are copied, with their indexes.")
    dry_run: bool

    @classmethod
    def of(cls, plan: PartitionPlan, *, dry_run: bool) -> PartitionView:
        """Return the view of a plan."""
        return cls(
            action=plan.action,
            days=plan.days,
            partitions=len(plan.ranges),
            rows=plan.rows,
            bytes=plan.bytes,
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
