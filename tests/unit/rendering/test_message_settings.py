"""The settings that concern every message are validated before the first one is composed."""

from __future__ import annotations

import json
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
    sender = found.senders.choose(kind="welcome")
    assert (found.project_name, sender.display_name, sender.address) == ("Acme", "Acme", "Shop@example.com")
    assert (sender.bounce_address, sender.reply_to) == ("Shop@example.com", "help@example.com")
    [header] = found.more_headers
    assert (header.name, header.value_for("welcome"), found.templates) == ("X-Tenant", "acme", tmp_path)


def test_optional_settings_may_be_missing() -> None:
    """There is then no reply address, no additional header and no folder."""
    found = message_settings_of(Settings())
    assert found.senders.choose(kind="welcome").reply_to == ""
    assert (found.more_headers, found.templates) == ((), None)


def test_a_header_may_have_a_value_for_each_kind() -> None:
    """`*` stands for all others; without it, only the named kinds have the header."""
    [all_kinds, some] = message_settings_of(
        Settings(mailctl_headers='{"X-Type": {"reset": "security", "*": "other"}, "X-Safe": {"reset": "1"}}')
    ).more_headers
    assert [all_kinds.value_for(kind) for kind in ("reset", "welcome")] == ["security", "other"]
    assert [some.value_for(kind) for kind in ("reset", "welcome")] == ["1", None]


@pytest.mark.parametrize("value", ["{recipient_email}", "id={{ user.id }}", "<{email}>"])
def test_a_placeholder_in_a_header_is_refused(value: str) -> None:
    """It would be sent literally, as nothing fills it in; JSON for a provider is none."""
    for headers in ({"X-A": value}, {"X-A": {"reset": value}}):
        with pytest.raises(ConfigurationError, match="which is not filled in"):
            message_settings_of(Settings(mailctl_headers=json.dumps(headers)))
    message_settings_of(Settings(mailctl_headers=json.dumps({"X-SMTPAPI": '{"category": ["x"]}'})))


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
        ("mailctl_headers", '{"X-A": {}}'),
        ("mailctl_headers", '{"X-A": {"reset": 1}}'),
        ("mailctl_headers", '{"X-A": "1", "x-a": "2"}'),
    ],
)
def test_an_invalid_setting_is_named(name: str, value: str) -> None:
    """With what to do about it."""
    settings: Any = {name: value}
    with pytest.raises(ConfigurationError, match=f"^{name.upper()} ") as caught:
        message_settings_of(Settings(**settings))
    assert caught.value.fix


def test_an_address_that_is_none_is_quoted() -> None:
    """It may come from any of several places."""
    with pytest.raises(ConfigurationError, match=r"^EMAIL_FROM_ADDRESS 'foo' is not a valid email address"):
        message_settings_of(Settings(EMAIL_FROM_ADDRESS="foo"))


def test_a_missing_folder_of_templates_is_named(tmp_path: Path) -> None:
    """A typing error must not fall back to the built-in templates."""
    with pytest.raises(ConfigurationError, match="there is no such folder"):
        message_settings_of(Settings(mailctl_templates=tmp_path / "nope"))
