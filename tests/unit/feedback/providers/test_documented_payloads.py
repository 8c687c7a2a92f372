"""The payloads of each provider in their documented shapes, and what each of them reports."""

from __future__ import annotations

from typing import Any

import pytest

from mailctl.domain.webhook_secrets import PROVIDER_NAMES
from mailctl.feedback.models import Proof
from mailctl.feedback.webhooks import PROVIDERS
from tests import webhooks

CASES = [
    pytest.param(provider, case, id=f"{provider}: {case['name']}")
    for provider in PROVIDER_NAMES
    for case in webhooks.cases(provider)
]


@pytest.mark.parametrize(("provider", "case"), CASES)
def test_a_documented_payload_reports_what_it_says(provider: str, case: dict[str, Any]) -> None:
    """Kind, email, recipient, time and codes come out; events that are no feedback report nothing."""
    request = webhooks.make_request(provider, case["payload"])

    parsed = webhooks.make_provider(provider).receive(request)

    assert parsed.malformed == 0
    assert len(parsed.reports) == len(case["expect"])
    for report, expected in zip(parsed.reports, case["expect"], strict=True):
        assert report.source == provider
        assert report.proof is Proof.VERIFIED
        told = {name: getattr(report, name) for name in expected} | {
            "at": report.at and report.at.isoformat()
        }
        assert told == expected
        unsaid = {"is_permanent", "smtp_code", "enhanced_code", "remote_server"} - expected.keys()
        assert {name: getattr(report, name) for name in unsaid} == dict.fromkeys(unsaid)


@pytest.mark.parametrize("provider", PROVIDER_NAMES)
def test_a_repetition_has_the_id_of_the_first(provider: str) -> None:
    """A provider's retry, with a new signature where it makes one, is recognised; another event is not."""
    first, second, *_ = (case for case in webhooks.cases(provider) if case["expect"])
    receiver = webhooks.make_provider(provider)
    retry_at = webhooks.NOW.replace(minute=3)

    ids = [
        [report.source_id for report in receiver.receive(request).reports]
        for request in (
            webhooks.make_request(provider, first["payload"]),
            webhooks.make_request(provider, first["payload"], at=retry_at),
            webhooks.make_request(provider, second["payload"], id="id-2"),
        )
    ]

    assert ids[0] == ids[1]
    assert ids[0] != ids[2]


def test_every_provider_has_payloads() -> None:
    """No provider is without cases, and each has at least a delivery, a bounce and a complaint."""
    assert set(PROVIDERS) == set(PROVIDER_NAMES)
    for provider in PROVIDER_NAMES:
        kinds = {expected["kind"] for case in webhooks.cases(provider) for expected in case["expect"]}
        assert {"delivered", "delayed", "bounced", "complained"} <= kinds
