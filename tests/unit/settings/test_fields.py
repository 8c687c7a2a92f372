"""The fields of the settings take what they can use, and nothing else."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mailctl.settings.fields import SettingsFields, validate_helo_name, validate_host


@pytest.mark.parametrize("text", ["smtp.example.com", "localhost", "127.0.0.1", "::1", "fe80::1%eth0", "a_b"])
def test_a_host_is_a_name_or_an_address(text: str) -> None:
    """Also one without a domain, as containers have."""
    assert validate_host(text) == text


@pytest.mark.parametrize("text", ["", "http://a", "a:25", "a/b", "user@a", "a b", "a..b"])
def test_a_host_has_no_other_parts(text: str) -> None:
    """Scheme, port, path and user belong elsewhere."""
    with pytest.raises(ValueError, match="without scheme, port, path or password"):
        validate_host(text)


@pytest.mark.parametrize("text", ["", "mail.example.com", "[192.0.2.1]", "[IPv6:2001:db8::1]"])
def test_a_helo_name_is_a_host_name_or_a_literal(text: str) -> None:
    """Or empty, for that of this host."""
    assert validate_helo_name(text) == text


@pytest.mark.parametrize("text", ["-a", "a b", "a\r\nMAIL FROM:<x@y>", "[", "é.example", "192.0.2.1"])
def test_a_helo_name_cannot_add_a_command(text: str) -> None:
    """It is written into one."""
    with pytest.raises(ValueError, match="must be a host name"):
        validate_helo_name(text)


@pytest.mark.parametrize("text", ["5%", "0.05", "0%", "100%", "0.3%"])
def test_a_share_is_written_as_the_commands_take_it(text: str) -> None:
    """In percent, or as a fraction."""
    assert SettingsFields(mailctl_campaign_max_bounced=text).mailctl_campaign_max_bounced == text


@pytest.mark.parametrize("text", ["5 %", "101%", "1.5", "-1%", "many"])
def test_what_is_no_share_is_said(text: str) -> None:
    """With an example."""
    with pytest.raises(ValidationError, match="such as 5% or"):
        SettingsFields(mailctl_campaign_max_complained=text)


def test_an_empty_value_means_the_default() -> None:
    """As `NAME=` in an environment file."""
    assert SettingsFields(redis_host="", email_port="").email_port == 587  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["a\0b", "a\udc80b"])
def test_no_value_has_a_nul_or_a_byte_that_is_not_utf_8(text: str) -> None:
    """No file name, header or driver takes it."""
    with pytest.raises(ValidationError, match="is not UTF-8 text, or contains a NUL"):
        SettingsFields(project_name=text)


@pytest.mark.parametrize("text", ["*", "*.example.com", "a.example, b.example", "localhost"])
def test_the_dashboard_answers_to_host_names(text: str) -> None:
    """One, several, all of a domain, or all."""
    assert SettingsFields(mailctl_web_hosts=text).mailctl_web_hosts == text


@pytest.mark.parametrize("text", ["https://a.example", "a.example:443", "a.*", "a/b"])
def test_a_pattern_that_matches_nothing_is_refused(text: str) -> None:
    """An operator would think that it does."""
    with pytest.raises(ValidationError, match="without scheme, port and path"):
        SettingsFields(mailctl_web_hosts=text)
