"""The queue ids in the replies of mail servers."""

from __future__ import annotations

import pytest

from mailctl.domain.outcomes import SmtpReply
from mailctl.domain.queue_ids import find_queue_id


@pytest.mark.parametrize(
    ("text", "queue_id"),
    [
        ("Ok: queued as 4F2B71A0C3", "4F2B71A0C3"),
        ("Ok: queued as 4YkQ7n0vXyz1b2", "4YkQ7n0vXyz1b2"),
        ("OK id=1sVf3X-0000000AbCd-2kLm", "1sVf3X-0000000AbCd-2kLm"),
        ("4AF2B3C4012345 Message accepted for delivery", "4AF2B3C4012345"),
        ("2b1c4d5e Message accepted for delivery", "2b1c4d5e"),
        (
            "<1@shop.example> [InternalId=63771674411008, Hostname=AM0PR01.example] Queued mail for delivery",
            "63771674411008",
        ),
        ("Message Queued (B1A2C3D4-5E6F-7081-92A3-B4C5D6E7F809.1)", "B1A2C3D4-5E6F-7081-92A3-B4C5D6E7F809.1"),
        (
            "Ok 010001890abcdef0-0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0-000000",
            "010001890abcdef0-0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0-000000",
        ),
        (
            "OK  1700000000 d2e1a72fcca58-6c4f00aa2b1si12345b3a.42 - gsmtp",
            "d2e1a72fcca58-6c4f00aa2b1si12345b3a.42",
        ),
        ("ok 1700000000 qp 12345", "12345"),
    ],
)
def test_the_id_is_found_in_the_reply(text: str, queue_id: str) -> None:
    """As each mail server words it."""
    assert find_queue_id(text) == queue_id
    assert SmtpReply(code=250, enhanced="2.0.0", text=text).queue_id == queue_id


@pytest.mark.parametrize("text", ["", "OK", "Great success", "queued", "accepted message 7"])
def test_a_reply_without_a_known_id_has_none(text: str) -> None:
    """Nothing is guessed."""
    assert find_queue_id(text) is None


def test_a_refusal_has_no_queue_id() -> None:
    """Nothing was queued, whatever it says."""
    assert SmtpReply(code=451, text="was queued as 4F2B71A0C3 before").queue_id is None
    assert SmtpReply(text="queued as 4F2B71A0C3").queue_id is None
