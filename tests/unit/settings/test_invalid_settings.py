"""The error for settings that are refused."""

from __future__ import annotations

import pytest

from mailctl.errors import ConfigurationError
from mailctl.settings import Settings


def refusal(values: dict[str, str]) -> ConfigurationError:
    """Return the error for settings that come from the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        with pytest.raises(ConfigurationError) as caught:
            Settings.load(env_file=None)
    return caught.value


REQUIREMENTS = {
    "DEBUG=maybe": "must be True or False",
    f"EMAIL_PORT={'9' * 5000}": "must be a whole number",
    "EMAIL_PORT=70000": "must be at most 65535",
    "MAILCTL_SMTP_CONNECTIONS=0": "must be at least 1",
    "MAILCTL_DURABILITY=none": "must be 'durable' or 'relaxed'",
}


@pytest.mark.parametrize("setting", REQUIREMENTS)
def test_what_a_setting_must_be_is_said_with_its_origin(setting: str) -> None:
    """Instead of what a library calls its input; the value may be a secret."""
    name, _, value = setting.partition("=")
    error = refusal({name: value})
    assert str(error) == f"{name} (environment): {REQUIREMENTS[setting]}."
    assert error.fix == "Correct it, or remove it to get the default."


def test_all_refused_settings_are_named_at_once() -> None:
    """With the advice of each, once."""
    numbers = {
        "MAILCTL_RETRY_FIRST_SECONDS": "0",
        "MAILCTL_SMTP_TIMEOUT_SECONDS": "soon",
        "EMAIL_PORT": "25.5",
    }
    error = refusal({**numbers, "CELERY_BROKER_URL": "redis//host"})
    for problem in (
        "MAILCTL_RETRY_FIRST_SECONDS (environment): must be more than 0",
        "MAILCTL_SMTP_TIMEOUT_SECONDS (environment): must be a number",
        "EMAIL_PORT (environment): must be a whole number",
        "CELERY_BROKER_URL (environment): ",
    ):
        assert problem in str(error)
    assert error.fix.count("Correct it") == 1
