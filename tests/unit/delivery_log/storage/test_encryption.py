"""Encryption at rest: content and fingerprints."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailctl.delivery_log.storage.encryption import fingerprints, open_sealed, seal
from mailctl.domain.models import Content, User
from mailctl.errors import ConfigurationError, InvalidInput
from mailctl.security.keyring import Keyring

KEYRING = Keyring(["a-secret-key-for-tests"])
BOTH = Keyring(["the-newest-secret-key", "a-secret-key-for-tests"])
CONTENT = Content(user=User(email="zoe@example.com"), context={"n": 1, "names": ["a"]}, trace={"t": "1"})


def test_content_is_decrypted_as_it_was() -> None:
    """Also by a process that has a newer key besides."""
    assert open_sealed(seal(CONTENT, KEYRING), BOTH) == CONTENT


def test_content_of_another_key_is_an_error() -> None:
    """That says which settings to correct."""
    with pytest.raises(ConfigurationError) as caught:
        open_sealed(seal(CONTENT, BOTH), KEYRING)
    assert "MAILCTL_SECRET_KEYS_OLD" in caught.value.fix


@pytest.mark.parametrize("value", [object(), float("nan"), {1, 2}])
def test_what_json_cannot_carry_is_refused(value: object) -> None:
    """A worker could not read it."""
    with pytest.raises(InvalidInput):
        seal(replace(CONTENT, context={"x": value}), KEYRING)


def test_equal_calls_have_equal_fingerprints() -> None:
    """Whatever their traces are; other content, another kind and another key have others."""
    [one] = fingerprints("welcome", [CONTENT], KEYRING)
    assert fingerprints("welcome", [replace(CONTENT, trace={})], KEYRING) == [one]
    assert fingerprints("welcome", [CONTENT], BOTH)[1] == one
    others = (
        fingerprints("reset", [CONTENT], KEYRING),
        fingerprints("welcome", [CONTENT, CONTENT], KEYRING),
        fingerprints("welcome", [replace(CONTENT, context={})], KEYRING),
    )
    assert [one] not in others
