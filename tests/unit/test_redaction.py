"""Redaction of secrets."""

from __future__ import annotations

import pytest

from mailctl.redaction import mask_url


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://:pw@h/0", "redis://:***@h/0"),
        ("redis://:@h/0", "redis://h/0"),
        ("redis://user@h/0", "redis://user@h/0"),
        ("redis://user:@h/0", "redis://user@h/0"),
        ("redis://user:p@w/o?r:d@h/0", "redis://user:***@h/0"),
        ("amqp://u:pw@a;amqp://u:pw@b", "amqp://u:***@b"),
        ("redis://h/0?password=pw&db=1", "redis://h/0?password=***&db=1"),
        ("redis://h/0?password=p@w", "redis://***@w"),
        ("sentinel://a:1;sentinel://b:2", "sentinel://a:1;sentinel://b:2"),
        ("plain\nwords\x1b[31m", "plain words [31m"),
    ],
)
def test_addresses_are_shown_without_their_passwords(address: str, shown: str) -> None:
    """Whatever characters a password has; rather too much is hidden than too little."""
    assert mask_url(address) == shown
