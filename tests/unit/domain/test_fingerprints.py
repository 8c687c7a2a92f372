"""What errors with one cause have in common."""

from __future__ import annotations

from typing import Any

import pytest

from mailctl.domain.fingerprints import Fingerprint, join_domains, make_fingerprint, strip_particulars
from mailctl.domain.reason_codes import ReasonCode


def fingerprint(recipient: str = "zoe@example.com", **more: Any) -> Fingerprint:
    """Return the fingerprint of a refusal at RCPT."""
    fields = {"reason_code": ReasonCode.REFUSED, "stage": "rcpt", "code": 550, "enhanced": "5.1.1"}
    return make_fingerprint(recipient=recipient, **{**fields, "text": "no such mailbox", **more})


@pytest.mark.parametrize(
    "text",
    [
        "<zoe@example.com>: Recipient address rejected (id 4711)",
        "max@example.com: recipient address rejected [192.0.2.7]",
        "12:00:01 Recipient address rejected https://help.example/42",
    ],
)
def test_the_wording_has_neither_addresses_nor_numbers(text: str) -> None:
    """Nor hosts, times, ids and what is in brackets."""
    assert strip_particulars(text) == "recipient address rejected"


def test_two_recipients_of_one_domain_have_one_fingerprint() -> None:
    """Whatever their addresses, also in the text."""
    assert fingerprint(text="<zoe@example.com> unknown") == fingerprint(
        "max@Example.com", text="<max@example.com> unknown"
    )


@pytest.mark.parametrize(
    "other",
    [
        {"stage": "body"},
        {"code": 551},
        {"enhanced": "5.7.1"},
        {"recipient": "zoe@example.org"},
        {"text": "mailbox full"},
        {"reason_code": ReasonCode.DEFERRED},
    ],
)
def test_each_part_makes_a_difference(other: dict[str, Any]) -> None:
    """Stage, codes, domain, words and reason."""
    assert fingerprint(**other) != fingerprint()


@pytest.mark.parametrize("stage", ["", "connect", "tls", "auth", "mail"])
def test_before_the_recipient_is_known_the_domain_does_not_count(stage: str) -> None:
    """What fails there fails for everybody."""
    assert fingerprint(stage=stage) == fingerprint("zoe@example.org", stage=stage)


def test_what_many_domains_say_alike_is_one_group() -> None:
    """Then the domain is not what they have in common."""
    few = [fingerprint(f"zoe@{n}.example") for n in range(4)]
    assert join_domains(few) == {each: each for each in few}
    many = [*few, fingerprint("zoe@4.example"), other := fingerprint(code=551)]
    joined = join_domains(many)
    assert {joined[each] for each in many} == {joined[few[0]], other}
    assert joined[few[0]].domain == ""
