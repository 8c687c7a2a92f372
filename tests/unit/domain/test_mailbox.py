"""Addresses of one mailbox count together."""

from __future__ import annotations

import pytest

from mailctl.domain.mailbox import canonical_mailbox


@pytest.mark.parametrize(
    ("address", "mailbox"),
    [
        ("Zoe@Example.com", "zoe@example.com"),
        ("zoe+shop@example.com", "zoe@example.com"),
        ("zoe+a+b@example.com", "zoe@example.com"),
        ("z.o.e@example.com", "z.o.e@example.com"),
        ("z.o.e+x@gmail.com", "zoe@gmail.com"),
        ("Zoe@googlemail.com", "zoe@gmail.com"),
        ("z-o_e.x@pm.me", "zoex@proton.me"),
        ("z-o-e@gmail.com", "z-o-e@gmail.com"),
        ("+tag@example.com", "+tag@example.com"),
        ("zoe@gmail.com.example", "zoe@gmail.com.example"),
        ("", ""),
    ],
)
def test_one_spelling_stands_for_all(address: str, mailbox: str) -> None:
    """Without sub-address, and without what the provider ignores; dots count everywhere else."""
    assert canonical_mailbox(address) == mailbox
    assert canonical_mailbox(mailbox) == mailbox
