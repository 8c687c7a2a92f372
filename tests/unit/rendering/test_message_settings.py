"""The settings that concern every message are validated before the first one is composed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mailctl.errors import ConfigurationError
from mailctl.rendering.message_settings import message_settings_of
from mailctl.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_valid_settings_are_returned(tmp_path: Path) -> None:
    """The sender's name is that of the project unless it has its own."""
    settings = Settings(
        project_name="Acme",
        email_from_address="Shop@EXAMPLE.com",
        mailctl_reply_to="help@example.com",
        mailctl_headers='{"X-Tenant": "acme"}',
        mailctl_templates=tmp_path,
    )
    found = message_settings_of(settings)
    assert (found.project_name, found.sender_name, found.sender) == ("Acme", "Acme", "Shop@example.com")
    assert (found.reply_to, found.more_headers, found.templates) == (
        "help@example.com",
        (("X-Tenant", "acme"),),
        tmp_path,
    )


def test_optional_settings_may_be_missing() -> None:
    """There is then no reply address, no additional header and no folder."""
    found = message_settings_of(Settings())
    assert (found.reply_to, found.more_headers, found.templates) == ("", (), None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("project_name", "a\nb"),
        ("email_from_name", "x" * 200),
        ("email_from_address", "nobody"),
        ("mailctl_reply_to", "nobody"),
        ("mailctl_headers", "[1]"),
        ("mailctl_headers", "{"),
        ("mailctl_headers", "[" * 100_000),
        ("mailctl_headers", '{"From": "x"}'),
        ("mailctl_headers", '{"X-A": "b\\nc"}'),
        ("mailctl_headers", '{"X-A": 1}'),
        ("mailctl_headers", '{"X-A": "1", "x-a": "2"}'),
    ],
)
def test_an_invalid_setting_is_named(name: str, value: str) -> None:
    """With what to do about it."""
    settings: Any = {name: value}
    with pytest.raises(ConfigurationError, match=f"^{name.upper()} ") as caught:
        message_settings_of(Settings(**settings))
    assert caught.value.fix


def test_a_missing_folder_of_templates_is_named(tmp_path: Path) -> None:
    """A typing error must not fall back to the built-in templates."""
    with pytest.raises(ConfigurationError, match="there is no such folder"):
        message_settings_of(Settings(mailctl_templates=tmp_path / "nope"))
