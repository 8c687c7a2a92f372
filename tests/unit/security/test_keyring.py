"""Sealed data can be opened only with the right secret and for the right purpose."""

from __future__ import annotations

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailctl.security.keyring import Keyring, _label, join_unambiguously
from tests.unbound_seals import seal_unbound

KEYRING = Keyring(["a secret"])
SEALED = KEYRING.seal(b"plain text", purpose="test")
SEALED_TEXT = KEYRING.seal_text(b"plain text", purpose="test")


@given(st.binary(max_size=200))
def test_sealed_data_can_be_opened(plain: bytes) -> None:
    """Whatever the data."""
    assert KEYRING.open(KEYRING.seal(plain, purpose="test"), purpose="test") == plain
    assert KEYRING.open_text(KEYRING.seal_text(plain, purpose="test"), purpose="test") == plain


def test_sealed_data_cannot_be_read() -> None:
    """Sealing encrypts."""
    assert b"plain text" not in SEALED
    assert b"plain text" not in base64.urlsafe_b64decode(SEALED_TEXT)


def test_sealing_twice_gives_different_results() -> None:
    """A nonce is never reused, so that equal data cannot be recognised."""
    assert KEYRING.seal(b"x", purpose="test") != KEYRING.seal(b"x", purpose="test")


def test_another_purpose_does_not_open_it() -> None:
    """Data that was sealed for one purpose is useless for another."""
    assert KEYRING.open(SEALED, purpose="other") is None
    assert KEYRING.open_text(SEALED_TEXT, purpose="other") is None


def test_another_secret_does_not_open_it() -> None:
    """The keys are derived from the secret."""
    assert Keyring(["another secret"]).open(SEALED, purpose="test") is None


def test_an_earlier_secret_still_opens_it() -> None:
    """SECRET_KEY can be rotated without losing stored data."""
    assert Keyring(["a new secret", "a secret"]).open(SEALED, purpose="test") == b"plain text"


def test_the_newest_secret_seals() -> None:
    """After a rotation the earlier secrets only open."""
    sealed = Keyring(["a new secret", "a secret"]).seal(b"x", purpose="test")
    assert Keyring(["a new secret"]).open(sealed, purpose="test") == b"x"
    assert KEYRING.open(sealed, purpose="test") is None


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=7))
def test_a_changed_bit_is_detected(position: int, bit: int) -> None:
    """In any byte of the sealed data."""
    raw = bytearray(SEALED)
    raw[position % len(raw)] ^= 1 << bit
    assert KEYRING.open(bytes(raw), purpose="test") is None
    assert KEYRING.open_text(base64.urlsafe_b64encode(bytes(raw)).decode(), purpose="test") is None


@given(st.integers(min_value=0), st.characters())
def test_a_changed_character_is_detected(position: int, character: str) -> None:
    """Also one that changes no bit of the data, such as the last one before the padding."""
    place = position % len(SEALED_TEXT)
    changed = SEALED_TEXT[:place] + character + SEALED_TEXT[place + 1 :]
    expected = b"plain text" if changed == SEALED_TEXT else None
    assert KEYRING.open_text(changed, purpose="test") == expected


@pytest.mark.parametrize("more", ["=", "\n", " ", "A", "AAAA", "é"])
def test_sealed_text_has_one_spelling(more: str) -> None:
    """Base64 decoders ignore characters that are not theirs."""
    assert KEYRING.open_text(SEALED_TEXT + more, purpose="test") is None
    assert KEYRING.open_text(more + SEALED_TEXT, purpose="test") is None


@given(st.integers(min_value=0, max_value=len(SEALED) - 1))
def test_a_part_does_not_open(length: int) -> None:
    """However long it is."""
    assert KEYRING.open(SEALED[:length], purpose="test") is None


@given(st.integers(min_value=0, max_value=len(SEALED_TEXT) - 1))
def test_a_part_of_sealed_text_does_not_open(length: int) -> None:
    """However long it is."""
    assert KEYRING.open_text(SEALED_TEXT[:length], purpose="test") is None


@given(st.binary(max_size=300), st.text(max_size=300))
def test_noise_does_not_open(noise: bytes, text: str) -> None:
    """Nor does it raise an error."""
    assert KEYRING.open(noise, purpose="test") is None
    assert KEYRING.open(b"\x01" + noise, purpose="test") is None
    assert KEYRING.open_text(text, purpose="test") is None


def test_what_the_newest_secret_sealed_is_recognised() -> None:
    """An earlier secret, another place or the first version of the format is not."""
    keyring = Keyring(["a new secret", "a secret"])
    renewed = keyring.seal(b"x", purpose="test", bound_to=["row"])
    assert keyring.is_newest(renewed, purpose="test", bound_to=["row"])
    assert not keyring.is_newest(renewed, purpose="test", bound_to=["another row"])
    assert not keyring.is_newest(SEALED, purpose="test")
    unbound = seal_unbound(b"x", secret="a new secret", purpose="test")
    assert not keyring.is_newest(unbound, purpose="test")


#: Few enough that two are often equal, or equal when they are joined.
PLACES = st.lists(st.text("ab\0", max_size=2), max_size=3)


@given(PLACES, PLACES)
@example(["ab", "c"], ["a", "bc"])
@example(["a"], ["a", ""])
def test_data_opens_in_its_place_alone(place: list[str], other: list[str]) -> None:
    """The values are compared one by one, not joined: "ab" and "c" is another place than "a" and "bc"."""
    sealed = KEYRING.seal(b"x", purpose="test", bound_to=place)
    expected = b"x" if place == other else None
    assert KEYRING.open(sealed, purpose="test", bound_to=other) == expected


@given(PLACES | st.lists(st.text(max_size=3), max_size=3), PLACES)
@example(["ab", "c"], ["a", "bc"])
@example(["a"], ["a", ""])
def test_joined_texts_are_unambiguous(some: list[str], others: list[str]) -> None:
    """Labels of keys, too: no two purposes share a key."""
    assert (join_unambiguously(*some) == join_unambiguously(*others)) == (some == others)


def test_a_purpose_shares_no_key_with_the_use_of_another() -> None:
    """The digest of purpose "p/aes" was once made with the key that encrypts for purpose "p"."""
    key = bytes.fromhex(KEYRING.digests(b"", purpose="test/aes")[0])
    assert key != bytes.fromhex(KEYRING.digests(b"", purpose="test")[0])
    assert _label("p", "aes") != _label("p/aes", "hmac")
    assert _label("p/aes", "hmac") != _label("p", "aes/hmac")


def test_the_first_version_of_the_format_is_opened_only_on_request() -> None:
    """It is bound to a purpose alone."""
    unbound = seal_unbound(b"x", secret="a secret", purpose="test")
    assert KEYRING.open(unbound, purpose="test") is None
    assert KEYRING.open_unbound(unbound, purpose="test") == b"x"
    assert KEYRING.open_unbound(unbound, purpose="other") is None
    assert KEYRING.open_unbound(SEALED, purpose="test") is None


def test_a_secret_may_be_any_text() -> None:
    """Short, long or not ASCII: keys are derived from it."""
    for secret in ("x", "é" * 1000, "with spaces"):
        keyring = Keyring([secret])
        assert keyring.open(keyring.seal(b"x", purpose="p"), purpose="p") == b"x"


def test_a_keyring_does_not_show_its_secrets() -> None:
    """Neither in a log line nor in a traceback."""
    assert "a secret" not in repr(KEYRING)


def test_digests_depend_on_content_purpose_and_secret() -> None:
    """The newest secret comes first; a value stored under an earlier one is still recognised."""
    old = KEYRING.digests(b"x", purpose="p")
    assert old == KEYRING.digests(b"x", purpose="p")
    assert Keyring(["a new secret", "a secret"]).digests(b"x", purpose="p")[1::2] == old
    assert len({*old, *KEYRING.digests(b"y", purpose="p"), *KEYRING.digests(b"x", purpose="q")}) == 6


@pytest.mark.parametrize("secrets", [["one"], ["one", "two", "three"]])
def test_there_is_a_digest_for_each_secret(secrets: list[str]) -> None:
    """One for each value of SECRET_KEY, and one that an earlier version made with it."""
    assert len(set(Keyring(secrets).digests(b"x", purpose="p"))) == 2 * len(secrets)


def test_a_fingerprint_names_a_secret_without_revealing_it() -> None:
    """One for each, the newest first; it differs from what is derived for any other purpose."""
    new, old = Keyring(["new-secret", "old-secret"]).fingerprints()
    assert Keyring(["old-secret"]).fingerprints() == (old,)
    assert new != old
    assert len(new) == 12
    assert not Keyring(["new-secret"]).digests(b"", purpose="log/fingerprint")[0].startswith(new)
