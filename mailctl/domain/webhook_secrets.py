"""The webhooks of email providers: which ones are switched on, with the secrets that prove who calls them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from mailctl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailctl.settings import Settings

SETTING = "MAILCTL_WEBHOOK_SECRETS"
#: The providers whose webhooks mailctl understands, by the names in the setting and in the path.
PROVIDER_NAMES = ("brevo", "mailgun", "mailjet", "postmark", "resend", "sendgrid", "ses", "sparkpost")
#: Providers that sign nothing: whoever knows the secret of the webhook can forge feedback.
UNSIGNED_PROVIDERS = frozenset({"brevo", "mailjet", "postmark", "sparkpost"})
#: The shortest secret for the webhook of a provider that signs nothing.
MIN_SECRET_LENGTH = 20
_TOPIC = re.compile(r"arn:aws(?:-[a-z]+)*:sns:[a-z]{2}(?:-[a-z]+)+-\d{1,2}:\d{12}:[A-Za-z0-9_.-]{1,256}")
_SECRET = re.compile(r"[!-~]{8,4096}")


def webhook_secrets_from_settings(settings: Settings) -> Mapping[str, tuple[str, ...]]:
    """Return the secrets of the webhooks that are switched on, by provider; several while one is replaced.

    The entry of Amazon SES holds the topics of Amazon SNS that feedback is expected from.

    Raises:
        ConfigurationError: MAILCTL_WEBHOOK_SECRETS is no such object, or a secret in it is not usable.
    """
    text = settings.mailctl_webhook_secrets.get_secret_value()
    return {name: _secrets(name, value) for name, value in _object(text).items()}


def _object(text: str) -> dict[str, object]:
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _problem('is not a JSON object such as {"postmark": "…"}')
    if unknown := sorted(value.keys() - set(PROVIDER_NAMES)):
        raise _problem(f"names {unknown[0][:40]!r}, which is none of {', '.join(PROVIDER_NAMES)}")
    return value


def _secrets(name: str, value: object) -> tuple[str, ...]:
    secrets = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else ()
    if not secrets or not all(isinstance(secret, str) and _SECRET.fullmatch(secret) for secret in secrets):
        raise _problem(f"has no usable secret for {name}: one text without spaces, or a list of texts")
    if name == "ses" and not all(_TOPIC.fullmatch(topic) for topic in secrets):
        raise _problem("has a value for ses that is not the ARN of a topic: arn:aws:sns:REGION:ACCOUNT:NAME")
    if name in UNSIGNED_PROVIDERS and any(len(secret) < MIN_SECRET_LENGTH for secret in secrets):
        raise _problem(f"has a secret for {name} with fewer than {MIN_SECRET_LENGTH} characters")
    return secrets


def _problem(reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"{SETTING} {reason}.", fix="See docs/how-to/webhooks.md for what each provider needs."
    )
