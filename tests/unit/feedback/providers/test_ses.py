"""Amazon SES: whose certificate is believed, and which subscriptions are confirmed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mailctl.errors import ServiceUnavailable
from mailctl.feedback.providers.ses import AmazonSes
from mailctl.feedback.providers.sns_certificates import Certificates
from mailctl.feedback.providers.webhook import WebhookProvider, WebhookRefused, WebhookRequest
from tests import webhooks

CONFIRM = f"Action=ConfirmSubscription&TopicArn={webhooks.TOPIC}"


def notification() -> WebhookRequest:
    """Return an event of Amazon SES, signed."""
    return webhooks.make_request("ses", webhooks.cases("ses")[0]["payload"])


def is_refused(receiver: WebhookProvider, request: WebhookRequest) -> bool:
    """Whether a request is refused."""
    try:
        receiver.receive(request)
    except WebhookRefused:
        return True
    return False


def sns_message(**changes: str) -> WebhookRequest:
    """Return a message of Amazon SNS, signed, with some members changed before that."""
    message = {
        "Type": "SubscriptionConfirmation",
        "MessageId": "id-1",
        "Token": "a-token",
        "TopicArn": webhooks.TOPIC,
        "Message": "You have chosen to subscribe.",
        "SubscribeURL": f"https://sns.eu-west-1.amazonaws.com/?{CONFIRM}&Token=a-token",
        "Timestamp": "2026-03-04T12:00:00.000Z",
    }
    body = webhooks.sign_sns(message | changes)
    return WebhookRequest(headers={}, body=body, is_encrypted=True, received_at=webhooks.NOW)


def test_a_subscription_to_an_expected_topic_is_confirmed() -> None:
    """The confirmation is fetched from the host of Amazon SNS that the signed message names."""
    network = webhooks.Network()

    parsed = webhooks.make_provider("ses", network).receive(sns_message())

    assert parsed.reports == ()
    assert network.asked[-1].startswith("https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&")


@pytest.mark.parametrize(
    "changes",
    [
        {"TopicArn": "arn:aws:sns:eu-west-1:999999999999:bounces"},
        {"SubscribeURL": f"https://evil.example/?Action=ConfirmSubscription&TopicArn={webhooks.TOPIC}"},
        {
            "SubscribeURL": f"http://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={webhooks.TOPIC}"
        },
        {"SubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe"},
        {
            "SubscribeURL": f"https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={webhooks.TOPIC}"
        },
        {"Type": "Confirmation"},
    ],
)
def test_no_other_subscription_is_confirmed(changes: dict[str, str]) -> None:
    """Anybody may subscribe this address to a topic of their own, which Amazon signs as well."""
    network = webhooks.Network()

    assert is_refused(webhooks.make_provider("ses", network), sns_message(**changes))
    assert not [url for url in network.asked if "Action=" in url]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/SimpleNotificationService-01.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-01.pem",
        "https://sns.eu-west-1.amazonaws.com@evil.example/SimpleNotificationService-01.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-01.pem",
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-01.pem",
        "https://bucket.s3.amazonaws.com/SimpleNotificationService-01.pem",
        "https://sns.eu-west-1.amazonaws.com/other.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem\r\nHost: evil",
        "https://[sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem",
    ],
)
def test_no_certificate_is_fetched_from_elsewhere(url: str) -> None:
    """A forged message names its own certificate; Amazon's alone are fetched."""
    network = webhooks.Network()
    message = json.loads(notification().body) | {"SigningCertURL": url}

    request = replace(notification(), body=json.dumps(message).encode())

    assert is_refused(webhooks.make_provider("ses", network), request)
    assert network.asked == []


def test_a_certificate_is_fetched_once() -> None:
    """Each event of a topic names the same certificate."""
    network = webhooks.Network()
    receiver = webhooks.make_provider("ses", network)

    receiver.receive(notification())
    receiver.receive(notification())

    assert network.asked == [webhooks.CERTIFICATE_URL]


def test_certificates_that_do_not_exist_are_looked_for_rarely() -> None:
    """Forged messages cannot make this host ask Amazon again and again."""
    network = webhooks.Network(pages={})
    certificates = Certificates(network.fetch)
    receiver = AmazonSes([webhooks.TOPIC], certificates=certificates, fetch=network.fetch)

    with pytest.raises(WebhookRefused):
        receiver.receive(notification())
    with pytest.raises(ServiceUnavailable):
        receiver.receive(notification())

    assert len(network.asked) == 1
