"""Proofs of who sends a request."""

from __future__ import annotations

import base64
from typing import ClassVar

import pytest

from mailctl.feedback.providers.verification import (
    has_shared_secret,
    has_standard_signature,
    hmac_sha256_hex,
    standard_signature,
)

SECRETS = ("an-old-secret", "a-new-secret")


def basic(credentials: str) -> str:
    """Return the value of a header of Basic authentication."""
    return "Basic " + base64.b64encode(credentials.encode()).decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"x-mailctl-secret": "a-new-secret"},
        {"authorization": "Bearer an-old-secret"},
        {"authorization": "bearer   a-new-secret "},
        {"authorization": basic("anybody:a-new-secret")},
    ],
)
def test_any_valid_secret_is_accepted_in_any_place_for_it(headers: dict[str, str]) -> None:
    """So that a secret can be replaced without losing a report."""
    assert has_shared_secret(headers, SECRETS)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-mailctl-secret": ""},
        {"x-mailctl-secret": "a-new-secret "},
        {"x-mailctl-secret": "\ud800"},
        {"authorization": "a-new-secret"},
        {"authorization": "Digest a-new-secret"},
        {"authorization": basic("a-new-secret:")},
        {"authorization": basic("a:b:a-new-secret")},
        {"authorization": "Basic %%%"},
        {"authorization": "Basic /w=="},
    ],
)
def test_anything_else_is_none(headers: dict[str, str]) -> None:
    """Nor is a secret in the place of the user name."""
    assert not has_shared_secret(headers, SECRETS)


def test_without_a_secret_nothing_is_proven() -> None:
    """An empty one would let everybody in."""
    assert not has_shared_secret({"x-mailctl-secret": "", "authorization": "Bearer "}, ["", "x"])


def test_a_keyed_hash_is_that_of_rfc_4231() -> None:
    """Its second test case."""
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert hmac_sha256_hex("Jefe", "what do ya want for nothing?") == expected


class TestStandardWebhooks:
    """Signatures as Standard Webhooks defines them; the example is that of its specification."""

    SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    SIGNED: ClassVar = {"message_id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "timestamp": "1614265330"}
    BODY = b'{"test": 2432232314}'
    SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    def test_the_signature_is_the_documented_one(self) -> None:
        """The part of the secret after its prefix is the key in base64."""
        assert standard_signature(self.SECRET, **self.SIGNED, body=self.BODY) == self.SIGNATURE

    @pytest.mark.parametrize("header", [SIGNATURE, f"v1,bad {SIGNATURE}", f"v1a,x {SIGNATURE} v2,y"])
    def test_one_valid_signature_of_several_is_enough(self, header: str) -> None:
        """While keys are rotated, a request has those of all."""
        secrets = ["whsec_b3RoZXI=", self.SECRET]
        assert has_standard_signature(header, secrets, **self.SIGNED, body=self.BODY)

    @pytest.mark.parametrize("header", ["", "v1,", SIGNATURE.replace("v1", "v2"), " " * 12 + SIGNATURE])
    def test_no_valid_signature_is_none(self, header: str) -> None:
        """Only the first ten of a header are looked at."""
        assert not has_standard_signature(header, [self.SECRET], **self.SIGNED, body=self.BODY)

    def test_a_secret_without_prefix_is_the_key_itself(self) -> None:
        """So is one whose rest is not base64."""
        for secret in ("plain", "whsec_%%%"):
            made = standard_signature(secret, **self.SIGNED, body=self.BODY)
            assert has_standard_signature(made, [secret], **self.SIGNED, body=self.BODY)
