"""Which webhooks are switched on."""

from __future__ import annotations

import json

from pydantic import SecretStr

from mailctl.domain.webhook_secrets import PROVIDER_NAMES
from mailctl.feedback.webhooks import PROVIDERS, webhooks_from_settings
from mailctl.settings import Settings
from tests import webhooks


def switched_on(*names: str) -> Settings:
    """Return settings with a secret for each of these providers."""
    secrets = {name: webhooks.secret_of(name) for name in names}
    return Settings(mailctl_webhook_secrets=SecretStr(json.dumps(secrets)))


def test_those_that_have_a_secret() -> None:
    """And no others."""
    found = webhooks_from_settings(switched_on("postmark", "resend"))
    assert sorted(found) == ["postmark", "resend"]
    assert {name: provider.name for name, provider in found.items()} == {name: name for name in found}
    assert webhooks_from_settings(Settings()) == {}


def test_every_provider_that_the_setting_knows_can_be_made() -> None:
    """The names stand in the domain, where nothing of this package is known."""
    assert sorted(PROVIDERS) == sorted(webhooks_from_settings(switched_on(*PROVIDER_NAMES)))
