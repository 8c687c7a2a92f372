"""A lease ends for its worker before it ends in the delivery log."""

from __future__ import annotations

import pytest

from mailctl.domain.lease import Lease
from mailctl.errors import LeaseEnded


class Host:
    """A host that has been up for 100 s, and a lease of a minute."""

    def __init__(self, *, seconds: float = 60) -> None:
        self.boot = 100.0
        self.lease = Lease(seconds=seconds, asked_at=self.boot, boot=lambda: self.boot)


@pytest.mark.parametrize(("seconds", "reserve"), [(60, 6), (5, 1)])
def test_a_body_is_handed_over_while_enough_of_the_lease_is_left(seconds: float, reserve: float) -> None:
    """A tenth, and at least a second."""
    host = Host(seconds=seconds)
    host.boot += seconds - reserve - 0.1
    host.lease.require()
    host.boot += 0.2
    with pytest.raises(LeaseEnded):
        host.lease.require()


def test_a_renewal_counts_from_when_it_was_asked_for() -> None:
    """The answer may have taken long, or the process may have been asleep meanwhile."""
    host = Host()
    host.boot += 100
    assert not host.lease.may_send
    host.lease.renew(asked_at=host.boot - 30)
    assert host.lease.may_send
    host.boot += 25
    assert not host.lease.may_send


def test_a_claim_that_another_worker_has_taken_ends_the_lease() -> None:
    """However much of it seems to be left."""
    host = Host()
    host.lease.lose()
    assert not host.lease.may_send
