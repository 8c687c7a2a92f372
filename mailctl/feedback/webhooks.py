"""The webhooks that are switched on, by provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.domain.webhook_secrets import webhook_secrets_from_settings
from mailctl.feedback.providers.brevo import Brevo
from mailctl.feedback.providers.mailgun import Mailgun
from mailctl.feedback.providers.mailjet import Mailjet
from mailctl.feedback.providers.postmark import Postmark
from mailctl.feedback.providers.resend import Resend
from mailctl.feedback.providers.sendgrid import SendGrid
from mailctl.feedback.providers.ses import AmazonSes
from mailctl.feedback.providers.sparkpost import SparkPost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mailctl.feedback.providers.webhook import WebhookProvider
    from mailctl.settings import Settings

PROVIDERS: Mapping[str, Callable[[Sequence[str]], WebhookProvider]] = {
    provider.name: provider
    for provider in (Brevo, Mailgun, Mailjet, Postmark, Resend, SendGrid, AmazonSes, SparkPost)
}


def webhooks_from_settings(settings: Settings) -> Mapping[str, WebhookProvider]:
    """Return the providers whose webhooks MAILCTL_WEBHOOK_SECRETS enables, by name.

    Raises:
        ConfigurationError: the setting is not valid.
    """
    return {
        name: PROVIDERS[name](secrets) for name, secrets in webhook_secrets_from_settings(settings).items()
    }
