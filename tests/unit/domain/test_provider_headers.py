"""The headers by which providers return the id of an email."""

from __future__ import annotations

import json

import pytest

from mailctl.domain.provider_headers import ID_HEADER, ID_KEY, id_headers
from mailctl.domain.webhook_secrets import PROVIDER_NAMES

ID = "0b9f7c1e-0000-4000-8000-000000000001"


@pytest.mark.parametrize("provider", PROVIDER_NAMES)
def test_each_provider_gets_the_id(provider: str) -> None:
    """In one header, whose value is one line."""
    [(name, value)] = id_headers([provider], ID).items()
    assert name.isascii()
    assert ID in value
    assert "\n" not in value
    if value != ID:
        assert ID_KEY in json.dumps(json.loads(value))


def test_two_providers_may_share_a_header() -> None:
    """And without a provider there is none."""
    assert id_headers(["ses", "resend"], ID) == {ID_HEADER: ID}
    assert id_headers([], ID) == {}


@pytest.mark.parametrize("email_id", ["", "a b", "a\r\nBcc: x@evil.example", "ü", "x" * 81, '"}'])
def test_an_id_that_a_provider_may_not_take_gets_no_header(email_id: str) -> None:
    """Another program chose it; it may not add a header either."""
    assert id_headers(PROVIDER_NAMES, email_id) == {}
