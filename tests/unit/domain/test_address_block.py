"""The addresses of one client or provider count together."""

from __future__ import annotations

import pytest

from mailctl.domain.address_block import address_block
from mailctl.errors import InvalidInput


@pytest.mark.parametrize(
    ("source", "block"),
    [
        ("203.0.113.7", "203.0.113.0/24"),
        (" 203.0.113.255 ", "203.0.113.0/24"),
        ("::ffff:203.0.113.7", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_a_block_has_one_spelling(source: str, block: str) -> None:
    """Whichever of its addresses a client uses, and however the address is written."""
    assert address_block(source) == block


@pytest.mark.parametrize(
    "source", ["", "testclient", "203.0.113.7:443", "203.0.113.0/24", 7, b"abcd", "1" * 9999]
)
def test_what_is_no_address_is_refused(source: object) -> None:
    """A limit that never counts would go unnoticed."""
    with pytest.raises(InvalidInput, match=r"^source is not an IP address") as found:
        address_block(source)
    assert len(str(found.value)) < 200
