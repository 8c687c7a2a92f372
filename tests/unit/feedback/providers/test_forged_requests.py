"""Requests that a provider did not send, sent long ago, or never documented: nothing of them is reported."""

from __future__ import annotations

import base64
import json
import random
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailctl.domain.webhook_secrets import PROVIDER_NAMES, UNSIGNED_PROVIDERS
from mailctl.feedback.providers.webhook import RefusalReason, WebhookProvider, WebhookRefused, WebhookRequest
from tests import webhooks

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailctl.feedback.models import Feedback

FORGERIES = 10_000
SIGNED = [name for name in PROVIDER_NAMES if name not in UNSIGNED_PROVIDERS]
#: How long after the signature each provider may retry; Resend signs each retry again.
RETRIES = {
    "mailgun": timedelta(hours=8),
    "resend": timedelta(minutes=5),
    "sendgrid": timedelta(hours=24),
    "ses": timedelta(hours=24),
}
#: What is signed, and the signature, where the body holds them.
SIGNED_MEMBERS = {
    "mailgun": ("timestamp", "token", "signature"),
    "ses": ("Message", "MessageId", "Timestamp", "TopicArn", "Signature"),
}


def genuine(provider: str) -> WebhookRequest:
    """Return a request that the provider did send."""
    return webhooks.make_request(provider, webhooks.cases(provider)[1]["payload"])


def refusal(receiver: WebhookProvider, request: WebhookRequest) -> RefusalReason | None:
    """Return why a request is refused; None if it is accepted."""
    return outcome(receiver, request)[0]


def outcome(
    receiver: WebhookProvider, request: WebhookRequest
) -> tuple[RefusalReason | None, tuple[Feedback, ...]]:
    """Return why a request is refused, if it is, and what it reports."""
    try:
        return None, receiver.receive(request).reports
    except WebhookRefused as refused:
        return refused.reason, ()


def without_proof(provider: str, request: WebhookRequest, rng: random.Random) -> WebhookRequest:
    """Return a request that somebody without any key makes."""
    message = json.loads(request.body)
    if provider in SIGNED_MEMBERS:
        message.pop("signature", message.pop("Signature", None))
    return replace(request, headers={}, body=json.dumps(message).encode())


def with_random_proof(provider: str, request: WebhookRequest, rng: random.Random) -> WebhookRequest:
    """Return a request whose signature or secret is guessed."""
    noise = base64.b64encode(rng.randbytes(rng.choice([0, 1, 32, 64, 72, 256]))).decode()
    headers = {name: rng.choice([noise, f"Basic {noise}", f"v1,{noise}"]) for name in request.headers}
    message = json.loads(request.body)
    if provider == "mailgun":
        message["signature"]["signature"] = noise
    if provider == "ses":
        message["Signature"] = noise
    return replace(request, headers=headers, body=json.dumps(message).encode())


def with_one_change(provider: str, request: WebhookRequest, rng: random.Random) -> WebhookRequest:
    """Return a genuine request with one character changed, in what is signed or in the proof."""
    if provider in UNSIGNED_PROVIDERS:
        secret = other_character(webhooks.SHARED_SECRET, rng)
        credentials = base64.b64encode(f"mailctl:{secret}".encode()).decode()
        authorization = rng.choice(
            [f"Basic {credentials}", f"Bearer {secret}", secret, f"Digest {credentials}"]
        )
        name = rng.choice(["authorization", "x-mailctl-secret"])
        value = secret if name == "x-mailctl-secret" else authorization
        return replace(request, headers={name: value})
    if provider in SIGNED_MEMBERS:
        message = json.loads(request.body)
        block = message["signature"] if provider == "mailgun" else message
        name = rng.choice(SIGNED_MEMBERS[provider])
        block[name] = other_text(name, block[name], rng)
        return replace(request, body=json.dumps(message).encode())
    name = rng.choice(["body", *request.headers])
    if name == "body":
        return replace(request, body=other_character(request.body.decode(), rng).encode())
    changed = other_text(name, request.headers[name], rng)
    return replace(request, headers={**request.headers, name: changed})


def of_another_provider(provider: str, request: WebhookRequest, rng: random.Random) -> WebhookRequest:
    """Return a request that another provider signed."""
    return genuine(rng.choice([name for name in SIGNED if name != provider]))


def without_tls(provider: str, request: WebhookRequest, rng: random.Random) -> WebhookRequest:
    """Return a request whose secret everybody on the way can read; signatures are no secrets."""
    plain = replace(request, is_encrypted=False)
    return plain if provider in UNSIGNED_PROVIDERS else with_one_change(provider, plain, rng)


FORGES: list[Callable[[str, WebhookRequest, random.Random], WebhookRequest]] = [
    without_proof,
    with_random_proof,
    with_one_change,
    of_another_provider,
    without_tls,
]


def other_text(name: str, text: str, rng: random.Random) -> str:
    """Return another text; a signature differs in what it stands for, and not only in how it is written."""
    if not name.lower().endswith("signature") or name == "signature":
        return other_character(text, rng)
    version, _, encoded = text.rpartition(",")
    raw = bytearray(base64.b64decode(encoded))
    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    return f"{version}," * bool(version) + base64.b64encode(bytes(raw)).decode()


def other_character(text: str, rng: random.Random) -> str:
    """Return a text with one character changed."""
    at = rng.randrange(len(text))
    return text[:at] + ("x" if text[at] != "x" else "y") + text[at + 1 :]


def test_none_of_ten_thousand_forged_requests_is_accepted(record_property: Callable[..., None]) -> None:
    """Whatever is guessed, changed or taken from elsewhere, the verifier refuses it unread."""
    rng = random.Random(3464)
    receivers = {name: webhooks.make_provider(name) for name in PROVIDER_NAMES}
    requests = {name: genuine(name) for name in PROVIDER_NAMES}
    assert {refusal(receivers[name], requests[name]) for name in PROVIDER_NAMES} == {None}

    accepted = []
    for number in range(FORGERIES):
        provider = PROVIDER_NAMES[number % len(PROVIDER_NAMES)]
        forged = FORGES[number // len(PROVIDER_NAMES) % len(FORGES)](provider, requests[provider], rng)
        if refusal(receivers[provider], forged) is None:
            accepted.append((provider, forged))

    assert accepted == []
    record_property("webhooks", ("forged, 8 providers", str(FORGERIES), str(len(accepted))))


@pytest.mark.parametrize("provider", RETRIES)
def test_a_signature_is_accepted_as_long_as_its_provider_retries(provider: str) -> None:
    """A retry at the end of the provider's schedule counts; a later copy, or a too early one, does not."""
    receiver = webhooks.make_provider(provider)

    def received(later: timedelta) -> RefusalReason | None:
        return refusal(receiver, replace(genuine(provider), received_at=webhooks.NOW + later))

    assert received(RETRIES[provider]) is None
    assert received(RETRIES[provider] + timedelta(minutes=6)) is RefusalReason.STALE
    assert received(-timedelta(minutes=4)) is None
    assert received(-timedelta(minutes=6)) is RefusalReason.STALE


def test_a_used_token_of_mailgun_makes_another_event_a_repetition() -> None:
    """The HMAC does not cover the event: with the token as its id, whoever saw one cannot report another."""
    request = genuine("mailgun")
    body = json.loads(request.body)
    body["event-data"] |= {"event": "complained", "recipient": "eve@customer.example"}

    receiver = webhooks.make_provider("mailgun")
    changed = receiver.receive(replace(request, body=json.dumps(body).encode()))

    assert [report.source_id for report in changed.reports] == [
        report.source_id for report in receiver.receive(request).reports
    ]


@pytest.mark.parametrize("header", ["Basic", "Bearer", "x-mailctl-secret"])
def test_a_provider_that_signs_nothing_may_send_its_secret_in_three_ways(header: str) -> None:
    """Basic authentication with any user name, a bearer token, or a header of its own."""
    secret = webhooks.SHARED_SECRET
    values = {
        "Basic": {"authorization": "Basic " + base64.b64encode(f"any:{secret}".encode()).decode()},
        "Bearer": {"authorization": f"Bearer {secret}"},
        "x-mailctl-secret": {"x-mailctl-secret": secret},
    }

    request = replace(genuine("postmark"), headers=values[header])

    assert refusal(webhooks.make_provider("postmark"), request) is None


@pytest.mark.parametrize("provider", PROVIDER_NAMES)
def test_a_request_that_is_too_large_is_refused_unread(provider: str) -> None:
    """The bound comes before signature and JSON."""
    receiver = webhooks.make_provider(provider)
    body = b"[" * (receiver.max_body_bytes + 1)

    assert refusal(receiver, replace(genuine(provider), body=body)) is RefusalReason.OVERSIZED


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def mutated(payload: Any, changes: list[tuple[int, Any]]) -> Any:
    """Return a payload with some of its values replaced."""
    text = json.dumps(payload)
    places = list(_places(json.loads(text), ()))
    result = json.loads(text)
    for number, value in changes:
        *parents, last = places[number % len(places)]
        target = result
        for step in parents:
            target = target[step] if isinstance(target, (dict, list)) and _has(target, step) else None
        if isinstance(target, (dict, list)) and _has(target, last):
            target[last] = value
    return result


def _has(container: Any, step: Any) -> bool:
    if isinstance(container, dict):
        return step in container
    return isinstance(step, int) and step < len(container)


def _places(value: Any, path: tuple[Any, ...]) -> Any:
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield (*path, step)
        yield from _places(inner, (*path, step))


@settings(max_examples=150, deadline=None)
@given(
    provider=st.sampled_from(PROVIDER_NAMES),
    case=st.integers(0, 20),
    changes=st.lists(st.tuples(st.integers(0, 200), JSON), min_size=1, max_size=3),
)
def test_any_signed_payload_is_read_or_refused(
    provider: str, case: int, changes: list[tuple[int, Any]]
) -> None:
    """Values of every type in every place: reports that a database takes, or a refusal, no other error."""
    every = webhooks.cases(provider)
    payload = mutated(every[case % len(every)]["payload"], changes)

    reason, reports = outcome(webhooks.make_provider(provider), webhooks.make_request(provider, payload))

    assert reason in (None, RefusalReason.MALFORMED)
    for report in reports:
        texts = [report.source_id, report.email_id, report.message_id, report.recipient, report.diagnostic]
        for text in filter(None, [*texts, report.enhanced_code, report.remote_server]):
            assert not any(char < " " for char in text)
            text.encode()
        assert report.smtp_code is None or 200 <= report.smtp_code <= 599
        assert report.at is None or report.at.tzinfo is not None


@pytest.mark.parametrize("provider", PROVIDER_NAMES)
@pytest.mark.parametrize(
    "body", [b"", b"null", b"3", b'"text"', b"{", b"[" * 100_000, b"\xff\xfe", b"[1]", b"[[]]"]
)
def test_what_is_no_object_is_refused(provider: str, body: bytes) -> None:
    """A body that is no JSON, or JSON of another form, with a right signature where the body has none."""
    is_signed_around = provider in ("sendgrid", "resend")
    request = webhooks.make_raw_request(provider, body) if is_signed_around else genuine(provider)

    reason, reports = outcome(webhooks.make_provider(provider), replace(request, body=body))

    assert reason in (None, RefusalReason.MALFORMED, RefusalReason.FORGED)
    assert reports == ()


def test_one_malformed_event_does_not_spoil_the_others() -> None:
    """A batch is read event by event; what cannot be read is counted."""
    good = webhooks.cases("sendgrid")[0]["payload"][0]
    request = webhooks.make_request(
        "sendgrid", [good, 3, {}, {"event": "delivered"}, good | {"sg_event_id": "2"}]
    )

    parsed = webhooks.make_provider("sendgrid").receive(request)

    assert (len(parsed.reports), parsed.malformed) == (2, 3)
