"""Encryption at rest: content and fingerprints."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from mailctl.delivery_log.storage.encryption import (
    RowIdentity,
    _encode,
    fingerprints,
    open_sealed,
    renew,
    reseal,
    seal,
)
from mailctl.domain.models import Content, User
from mailctl.errors import ConfigurationError, InvalidInput
from mailctl.security.keyring import Keyring
from tests.emails import NOW
from tests.unbound_seals import derive_unbound, seal_unbound

KEYRING = Keyring(["a-secret-key-for-tests"])
BOTH = Keyring(["the-newest-secret-key", "a-secret-key-for-tests"])
CONTENT = Content(user=User(email="zoe@example.com"), context={"n": 1, "names": ["a"]}, trace={"t": "1"})
ROW = RowIdentity(id="e", kind="welcome", recipient="zoe@example.com", expires_at=NOW)


def test_content_is_decrypted_as_it_was() -> None:
    """Also by a process that has a newer key besides."""
    assert open_sealed(seal(CONTENT, KEYRING, ROW), BOTH, ROW) == CONTENT


def test_content_of_another_key_is_an_error() -> None:
    """That says which settings to correct."""
    with pytest.raises(ConfigurationError) as caught:
        open_sealed(seal(CONTENT, BOTH, ROW), KEYRING, ROW)
    assert "MAILCTL_SECRET_KEYS_OLD" in caught.value.fix


OTHER_ROWS = {
    "id": replace(ROW, id="f"),
    "kind": replace(ROW, kind="reset"),
    "recipient": replace(ROW, recipient="amy@example.com"),
    "expiry": replace(ROW, expires_at=NOW + timedelta(microseconds=1)),
    "no expiry": replace(ROW, expires_at=None),
}


@pytest.mark.parametrize("other", OTHER_ROWS.values(), ids=OTHER_ROWS)
def test_content_opens_in_its_own_row_alone(other: RowIdentity) -> None:
    """Moved to another row, or if its row was changed, it is of no use; nor is it sealed again there."""
    sealed = seal(CONTENT, KEYRING, ROW)
    with pytest.raises(ConfigurationError, match="another row"):
        open_sealed(sealed, KEYRING, other)
    assert renew(sealed, BOTH, other) is None
    assert reseal(sealed, BOTH, other, changed=ROW) is None


def test_a_new_expiry_seals_anew() -> None:
    """The old one no longer opens it."""
    later = replace(ROW, expires_at=NOW + timedelta(hours=1))
    sealed = reseal(seal(CONTENT, KEYRING, ROW), KEYRING, ROW, changed=later)
    assert sealed is not None
    assert open_sealed(sealed, KEYRING, later) == CONTENT
    with pytest.raises(ConfigurationError):
        open_sealed(sealed, KEYRING, ROW)


@pytest.mark.parametrize("expires_at", [None, NOW, NOW.replace(microsecond=1), NOW.replace(year=9999)])
def test_an_expiry_is_the_same_in_any_zone(expires_at: datetime | None) -> None:
    """Databases return it in UTC, to the microsecond."""
    row = replace(ROW, expires_at=expires_at)
    zone = timezone(timedelta(hours=2))
    same = replace(ROW, expires_at=expires_at and expires_at.astimezone(zone))
    assert open_sealed(seal(CONTENT, KEYRING, row), KEYRING, same) == CONTENT


def test_content_of_an_earlier_version_is_read_by_rekeying_alone() -> None:
    """It is bound to no row, so a worker could be given it for any."""
    plain = json.dumps({"user": vars(CONTENT.user), "context": CONTENT.context}).encode()
    unbound = seal_unbound(plain, secret="a-secret-key-for-tests", purpose="log/content")
    with pytest.raises(ConfigurationError) as caught:
        open_sealed(unbound, KEYRING, ROW)
    assert "mailctl db rekey" in caught.value.fix
    renewed = renew(unbound, BOTH, ROW)
    assert renewed is not None
    assert open_sealed(renewed, BOTH, ROW) == replace(CONTENT, trace={})
    assert renew(renewed, BOTH, ROW) == renewed
    assert renew(unbound, BOTH, replace(ROW, recipient="amy@example.com")) is None


@pytest.mark.parametrize("value", [object(), float("nan"), {1, 2}])
def test_what_json_cannot_carry_is_refused(value: object) -> None:
    """A worker could not read it."""
    with pytest.raises(InvalidInput):
        seal(replace(CONTENT, context={"x": value}), KEYRING, ROW)


def test_equal_calls_have_equal_fingerprints() -> None:
    """Whatever their traces are; other content, another kind and another key have others."""
    one = fingerprints("welcome", [CONTENT], KEYRING)
    assert fingerprints("welcome", [replace(CONTENT, trace={})], KEYRING) == one
    assert fingerprints("welcome", [CONTENT], BOTH)[1::2] == one
    others = (
        fingerprints("reset", [CONTENT], KEYRING),
        fingerprints("welcome", [CONTENT, CONTENT], KEYRING),
        fingerprints("welcome", [replace(CONTENT, context={})], KEYRING),
    )
    assert not any(set(one) & set(other) for other in others)


def test_a_fingerprint_of_an_earlier_version_is_recognised() -> None:
    """A call that is repeated after an upgrade sends nothing twice."""
    key = derive_unbound("a-secret-key-for-tests", "log/fingerprint")
    plain = b"\0".join([b"welcome", _encode(replace(CONTENT, trace={}))])
    stored = hmac.new(key, plain, hashlib.sha256).hexdigest()
    assert stored in fingerprints("welcome", [CONTENT], BOTH)
