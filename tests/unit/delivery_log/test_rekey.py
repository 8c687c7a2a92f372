"""Rekeying: old content is encrypted with the newest key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.rekey import RekeyResult, rekey
from mailctl.security.keyring import Keyring

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log

BOTH = Keyring(["the-newest-secret-key", "a-secret-key-for-tests"])


def test_counts_add_up() -> None:
    """Each batch yields its own."""
    one = RekeyResult(outdated=1, current=2, unreadable=("a",))
    assert one + one == RekeyResult(outdated=2, current=4, unreadable=("a", "a"))


@pytest.mark.parametrize(("dry_run", "again"), [(True, 1), (False, 0)])
def test_a_dry_run_changes_nothing(log: Log, dry_run: bool, again: int) -> None:
    """The next run finds as much as before."""
    log.add()
    assert [result.outdated for result in rekey(log.engine, BOTH, dry_run=dry_run)] == [1]
    assert [result.outdated for result in rekey(log.engine, BOTH, dry_run=True)] == [again]


def test_what_no_key_decrypts_is_named(log: Log) -> None:
    """And stays as it is."""
    email_id = log.add()
    [result] = rekey(log.engine, Keyring(["another-secret-key"]), dry_run=False)
    assert (result.unreadable, result.outdated) == ((email_id,), 0)
    assert log.outbox.content(email_id) is not None
