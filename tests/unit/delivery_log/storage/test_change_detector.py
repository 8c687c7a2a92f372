"""Detection of changes: what counts as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.delivery_log.storage.change_detector import ChangeDetector

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log


def test_a_write_is_a_change_until_it_is_seen(log: Log) -> None:
    """A read is none."""
    detector = ChangeDetector(log.engine)
    detector.mark_seen()
    log.lookups.is_empty()
    assert not detector.has_changed()
    log.add()
    assert detector.has_changed()
    detector.mark_seen()
    assert not detector.may_have_changed()
    detector.close()


def test_what_cannot_be_read_may_have_changed(log: Log) -> None:
    """Nothing is known then, and a relay asks the log itself."""
    detector = ChangeDetector(log.engine)
    detector.is_sqlite = False
    assert (detector.has_changed(), detector.may_have_changed()) == (False, True)
