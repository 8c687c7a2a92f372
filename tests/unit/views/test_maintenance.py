"""The maintenance of the delivery log as JSON."""

from __future__ import annotations

from mailctl.delivery_log.rekey import RekeyResult
from mailctl.delivery_log.retention import PrunableCounts
from mailctl.delivery_log.storage.schema_version import SchemaVersion
from mailctl.views.maintenance import PruneView, RekeyView, SchemaVersionView


def test_a_schema_of_another_version_is_not_ok() -> None:
    """Nor is a database without a schema."""
    versions = [SchemaVersion(current=current, head="2") for current in ("2", "1", None)]
    assert [SchemaVersionView.of(version).ok for version in versions] == [True, False, False]


def test_what_a_dry_run_counts_is_marked() -> None:
    """The counts have the same keys."""
    rekeyed = RekeyView.of(RekeyResult(outdated=1, current=2, unreadable=("e1",)), dry_run=True).as_json()
    assert rekeyed == {"resealed": 1, "current": 2, "unreadable": ["e1"], "dry_run": True}
    pruned = PruneView.of(PrunableCounts(emails=1, contents=2, link_uses=3), dry_run=False).as_json()
    assert pruned == {"emails": 1, "contents": 2, "link_uses": 3, "dry_run": False}
