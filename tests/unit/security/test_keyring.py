"""Sealing: only the right key and the right purpose open what was sealed."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailctl.security.keyring import Keyring

KEYRING = Keyring(["a secret"])
SEALED = KEYRING.seal(b"plain text", purpose="test")


@given(st.binary(max_size=200))
def test_what_was_sealed_opens(plain: bytes) -> None:
    """Whatever it was."""
    assert KEYRING.open(KEYRING.seal(plain, purpose="test"), purpose="test") == plain


def test_what_was_sealed_cannot_be_read() -> None:
    """Sealing encrypts."""
    assert b"plain text" not in base64.urlsafe_b64decode(SEALED)


def test_sealing_twice_gives_two_results() -> None:
    """Nobody can tell from two sealed values that they are the same."""
    assert KEYRING.seal(b"x", purpose="test") != KEYRING.seal(b"x", purpose="test")


def test_another_purpose_does_not_open_it() -> None:
    """A value that was sealed for one use is worth nothing in another."""
    assert KEYRING.open(SEALED, purpose="other") is None


def test_another_secret_does_not_open_it() -> None:
    """Keys come from the secret."""
    assert Keyring(["another secret"]).open(SEALED, purpose="test") is None


def test_an_earlier_secret_still_opens_it() -> None:
    """SECRET_KEY can be changed without losing what is under way."""
    assert Keyring(["a new secret", "a secret"]).open(SEALED, purpose="test") == b"plain text"


def test_the_newest_secret_seals() -> None:
    """After a change the earlier secret is only for opening."""
    sealed = Keyring(["a new secret", "a secret"]).seal(b"x", purpose="test")
    assert Keyring(["a new secret"]).open(sealed, purpose="test") == b"x"
    assert KEYRING.open(sealed, purpose="test") is None


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=7))
def test_a_single_changed_bit_is_noticed(position: int, bit: int) -> None:
    """In any byte of what was sealed."""
    raw = bytearray(base64.urlsafe_b64decode(SEALED))
    raw[position % len(raw)] ^= 1 << bit
    assert KEYRING.open(base64.urlsafe_b64encode(bytes(raw)), purpose="test") is None


@given(st.integers(min_value=0, max_value=len(SEALED) - 1))
def test_a_part_does_not_open(length: int) -> None:
    """However long it is."""
    assert KEYRING.open(SEALED[:length], purpose="test") is None


@given(st.binary(max_size=300))
def test_noise_does_not_open(noise: bytes) -> None:
    """Nor does it raise anything."""
    assert KEYRING.open(noise, purpose="test") is None


def test_a_secret_may_be_any_text() -> None:
    """Short, long or not ASCII: keys are derived from it."""
    for secret in ("x", "é" * 1000, "with spaces"):
        keyring = Keyring([secret])
        assert keyring.open(keyring.seal(b"x", purpose="p"), purpose="p") == b"x"


def test_a_keyring_does_not_show_its_secrets() -> None:
    """Not in a log line, not in a traceback."""
    assert "a secret" not in repr(KEYRING)


def test_digests_tell_content_purpose_and_secret_apart() -> None:
    """Newest secret first, so that a value kept under an earlier one is still recognised."""
    old = KEYRING.digests(b"x", purpose="p")
    assert old == KEYRING.digests(b"x", purpose="p")
    assert Keyring(["a new secret", "a secret"]).digests(b"x", purpose="p")[1:] == old
    assert len({*old, *KEYRING.digests(b"y", purpose="p"), *KEYRING.digests(b"x", purpose="q")}) == 3


@pytest.mark.parametrize("secrets", [["one"], ["one", "two", "three"]])
def test_there_is_a_digest_for_each_secret(secrets: list[str]) -> None:
    """As many as there are values of SECRET_KEY."""
    assert len(Keyring(secrets).digests(b"x", purpose="p")) == len(secrets)


class TestBytes:
    """What need not be text is sealed faster, and as well."""

    SEALED = KEYRING.seal_bytes(b"plain text", purpose="test")

    @given(st.binary(max_size=200))
    def test_what_was_sealed_opens(self, plain: bytes) -> None:
        """Whatever it was."""
        assert KEYRING.open(KEYRING.seal_bytes(plain, purpose="test"), purpose="test") == plain

    def test_nothing_else_opens_it(self) -> None:
        """Neither another purpose nor another secret; an earlier one does."""
        assert b"plain text" not in self.SEALED
        assert KEYRING.open(self.SEALED, purpose="other") is None
        assert Keyring(["another secret"]).open(self.SEALED, purpose="test") is None
        assert Keyring(["a new secret", "a secret"]).open(self.SEALED, purpose="test") == b"plain text"

    @given(st.integers(min_value=0), st.integers(min_value=0, max_value=7))
    def test_a_single_changed_bit_is_noticed(self, position: int, bit: int) -> None:
        """In any byte of what was sealed."""
        raw = bytearray(self.SEALED)
        raw[position % len(raw)] ^= 1 << bit
        assert KEYRING.open(bytes(raw), purpose="test") is None

    @given(st.integers(min_value=0, max_value=len(SEALED) - 1))
    def test_a_part_of_it_opens_nothing(self, length: int) -> None:
        """Not even an empty text."""
        assert KEYRING.open(self.SEALED[:length], purpose="test") is None

    def test_sealing_twice_gives_two_results(self) -> None:
        """A nonce is never used again."""
        again = KEYRING.seal_bytes(b"plain text", purpose="test")
        assert again != self.SEALED

    def test_it_is_renewed_by_the_newest_secret(self) -> None:
        """Once."""
        ring = Keyring(["a new secret", "a secret"])
        renewed = ring.reseal(self.SEALED, purpose="test")
        assert renewed is not None
        assert Keyring(["a new secret"]).open(renewed, purpose="test") == b"plain text"
        assert ring.reseal(renewed, purpose="test") == renewed
