"""Certificates come from hosts of Amazon SNS alone, and few are looked for in vain."""

from __future__ import annotations

import pytest

from mailctl.errors import NotFound, ServiceUnavailable
from mailctl.feedback.providers.sns_certificates import Certificates, is_sns_url
from mailctl.feedback.providers.webhook import WebhookRefused
from tests import webhooks
from tests.webhooks import CERTIFICATE_URL

REGION = "eu-west-1"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://sns.eu-west-1.amazonaws.com/x?y=z", True),
        ("https://sns.eu-west-1.amazonaws.com.cn/x", True),
        ("http://sns.eu-west-1.amazonaws.com/x", False),
        ("https://sns.us-east-1.amazonaws.com/x", False),
        ("https://sns.eu-west-1.amazonaws.com.example.com/x", False),
        ("https://sns.eu-west-1.amazonaws.com:8443/x", False),
        ("https://u@sns.eu-west-1.amazonaws.com/x", False),
        ("https://sns.eu-west-1.amazonaws.com/x#y", False),
        ("https://sns.eu-west-1.amazonaws.com\\@example.com/x", False),
        ("https://sns.eu-west-1.amazonaws.com/x\r\nHost: example.com", False),
        ("https://[sns/x", False),
        ("", False),
    ],
)
def test_only_urls_of_amazon_sns_in_that_region_are_followed(url: str, expected: bool) -> None:
    """Anything else would let a stranger choose where this host connects to."""
    assert is_sns_url(url, region=REGION) is expected


def test_a_certificate_is_fetched_once() -> None:
    """Each message names it again."""
    network = webhooks.Network()
    certificates = Certificates(network.fetch)
    first = certificates.find(CERTIFICATE_URL, region=REGION)
    assert certificates.find(CERTIFICATE_URL, region=REGION) is first
    assert network.asked == [CERTIFICATE_URL]


@pytest.mark.parametrize(
    "name", ["x.pem", "SimpleNotificationService-.pem", "a/SimpleNotificationService-1.pem"]
)
def test_a_file_of_another_name_is_not_fetched(name: str) -> None:
    """Amazon names them all alike."""
    network = webhooks.Network()
    with pytest.raises(WebhookRefused):
        Certificates(network.fetch).find(f"https://sns.eu-west-1.amazonaws.com/{name}", region=REGION)
    assert network.asked == []


def _missing(url: str) -> bytes:
    raise NotFound(url)


def _unreachable(url: str) -> bytes:
    raise ServiceUnavailable(url)


def test_after_a_miss_nothing_is_looked_for_in_a_while() -> None:
    """A flood of forged requests is no flood of ours."""
    certificates = Certificates(_missing)
    with pytest.raises(WebhookRefused):
        certificates.find(CERTIFICATE_URL, region=REGION)
    with pytest.raises(ServiceUnavailable):
        certificates.find(CERTIFICATE_URL.replace("0123", "4567"), region=REGION)


def test_a_host_that_cannot_be_reached_says_nothing_about_a_request() -> None:
    """Amazon sends it once more."""
    with pytest.raises(ServiceUnavailable):
        Certificates(_unreachable).find(CERTIFICATE_URL, region=REGION)


def test_old_certificates_make_place_for_new_ones() -> None:
    """Of forged names that exist, few are kept."""
    urls = [CERTIFICATE_URL.replace("0123456789abcdef", f"{number:04}") for number in range(20)]
    network = webhooks.Network(pages=dict.fromkeys(urls, webhooks.certificate()))
    certificates = Certificates(network.fetch)
    for url in urls:
        certificates.find(url, region=REGION)
    for url in (urls[-1], urls[0]):
        certificates.find(url, region=REGION)
    assert network.asked == [*urls, urls[0]]
