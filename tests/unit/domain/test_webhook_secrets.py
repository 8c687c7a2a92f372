"""The setting that switches webhooks on."""

from __future__ import annotations

import pytest

from mailctl.domain.webhook_secrets import PROVIDER_NAMES, webhook_secrets_from_settings
from mailctl.errors import ConfigurationError
from mailctl.feedback.webhooks import webhooks_from_settings
from mailctl.settings import Settings
from tests import webhooks


def secrets(text: str) -> dict[str, tuple[str, ...]]:
    """Return the secrets of a setting."""
    return dict(webhook_secrets_from_settings(Settings(MAILCTL_WEBHOOK_SECRETS=text)))


def test_each_provider_has_one_secret_or_several() -> None:
    """An empty setting switches none on."""
    topic = webhooks.TOPIC
    assert secrets("") == {}
    assert secrets(f'{{"mailgun": ["key-one-1", "key-two-2"], "ses": "{topic}"}}') == {
        "mailgun": ("key-one-1", "key-two-2"),
        "ses": (topic,),
    }


@pytest.mark.parametrize(
    "text",
    [
        "secret-of-postmark-0123456789",
        "[]",
        "[" * 100_000,
        '{"mandrill": "secret-0123456789abcdef"}',
        '{"postmark": ""}',
        '{"postmark": []}',
        '{"postmark": 12345678901234567890}',
        '{"postmark": "with a space 0123456789"}',
        '{"postmark": "too-short-1"}',
        '{"ses": "https://shop.example"}',
    ],
)
def test_other_values_are_refused(text: str) -> None:
    """In one sentence, which does not repeat a secret."""
    with pytest.raises(ConfigurationError) as caught:
        secrets(text)
    assert "0123456789" not in str(caught.value)
    assert "docs/how-to/webhooks.md" in caught.value.fix


def test_every_provider_can_be_switched_on() -> None:
    """By its name in the setting."""
    given = {name: webhooks.secret_of(name) for name in PROVIDER_NAMES}
    found = webhooks_from_settings(Settings(MAILCTL_WEBHOOK_SECRETS=webhooks.json.dumps(given)))
    assert {name: provider.name for name, provider in found.items()} == dict(zip(given, given, strict=True))
