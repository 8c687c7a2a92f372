"""Bounce addresses: what they look like, and which are accepted."""

from __future__ import annotations

import re
import uuid

import pytest

from mailctl.errors import ConfigurationError
from mailctl.security.bounce_address import (
    BounceAddress,
    bounce_address_from_settings,
    validate_bounce_address,
)
from mailctl.security.keyring import Keyring
from mailctl.settings import Settings
from mailctl.smtp.commands import mail_command

OLD, NEW = "an-old-secret-key-for-tests", "a-new-secret-key-for-tests"
ADDRESS = "bounces@example.com"
BOUNCES = BounceAddress(ADDRESS, Keyring([NEW, OLD]))
IDS = [str(uuid.UUID(int=0)), str(uuid.UUID(int=2**128 - 1)), "task-1", "é", "--yes", "1" * 16]


@pytest.mark.parametrize("email_id", IDS)
def test_an_address_leads_back_to_its_email(email_id: str) -> None:
    """In any case, with or without brackets; it is a plain address with a short local part."""
    sender = BOUNCES.sender(email_id)
    local_part = sender.rpartition("@")[0]
    assert re.fullmatch(r"bounces\+[a-z2-7]+", local_part)
    assert len(local_part) <= 64
    assert mail_command(sender, size=0, extensions=()).startswith(b"MAIL FROM:<bounces+")
    for form in (sender, sender.upper(), f"<{sender}>"):
        assert BOUNCES.email_id_of_address(form) == email_id
    assert BOUNCES.find(f"To: {sender}, x@example.com") == email_id
    assert not BOUNCES.has_forged_token(sender)


def test_the_longest_address_has_64_octets() -> None:
    """As RFC 5321 allows."""
    sender = BounceAddress("a" * 19 + "@example.com", Keyring([NEW])).sender(IDS[0])
    assert len(sender.rpartition("@")[0]) == 64


def test_an_id_that_is_too_long_has_no_token() -> None:
    """Its bounces come back, and prove nothing."""
    assert BOUNCES.sender("x" * 17) == ADDRESS
    assert BOUNCES.token("x" * 17) == ""


def test_another_spelling_of_a_uuid_is_another_id() -> None:
    """The id must come back as it is in the log."""
    assert BOUNCES.email_id(BOUNCES.token("A" * 8 + "-0000-4000-8000-000000000000")) is None


def test_an_address_of_an_older_key_is_accepted() -> None:
    """Bounces may come days after the rotation; those of another service never are."""
    token = BounceAddress(ADDRESS, Keyring([OLD])).token(IDS[0])
    assert BOUNCES.email_id(token) == IDS[0]
    strange = BounceAddress(ADDRESS, Keyring(["the-key-of-another-service"])).sender(IDS[0])
    assert BOUNCES.email_id_of_address(strange) is None
    assert BOUNCES.has_forged_token(strange)


@pytest.mark.parametrize("address", [ADDRESS, "bounces+@example.com", "other+aa@example.com", "", "@", "+@"])
def test_an_address_without_a_token_is_none_of_an_email(address: str) -> None:
    """Nor is one of somebody else."""
    assert BOUNCES.email_id_of_address(address) is None
    assert not BOUNCES.has_forged_token(address)


@pytest.mark.parametrize("value", ["nobody", "a" * 20 + "@example.com", "a+b@example.com", "@example.com"])
def test_a_setting_that_has_no_room_is_refused(value: str) -> None:
    """With its name."""
    with pytest.raises(ConfigurationError, match="MAILCTL_BOUNCE_ADDRESS"):
        validate_bounce_address(value)


def test_there_may_be_no_bounce_address() -> None:
    """Bounces go to the sender then."""
    assert bounce_address_from_settings(Settings()) is None
