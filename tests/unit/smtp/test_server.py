"""The mail server of the settings, and the encryption that it gets."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from pydantic import SecretStr

from mailctl.errors import ConfigurationError
from mailctl.settings import Settings
from mailctl.smtp.server import SmtpServer, is_full_host_name, make_tls_context, smtp_server_from_settings


def test_every_setting_of_the_mail_server_is_used() -> None:
    """Names of the environment become fields of the server."""
    settings = Settings(
        email_host="mail.example.com",
        email_port=465,
        email_tls="implicit",
        email_host_user="app",
        email_host_password=SecretStr("secret"),
        email_ca_file=Path("ca.pem"),
        mailctl_smtp_timeout_seconds=7,
        mailctl_smtp_data_timeout_seconds=77,
    )
    assert smtp_server_from_settings(settings) == SmtpServer(
        host="mail.example.com",
        port=465,
        tls="implicit",
        username="app",
        password="secret",
        ca_file=Path("ca.pem"),
        timeout_seconds=7,
        data_timeout_seconds=77,
    )


def test_without_settings_mail_goes_to_this_host_over_starttls() -> None:
    """The default never sends credentials in clear."""
    server = smtp_server_from_settings(Settings())
    assert (server.host, server.port, server.tls, server.username) == ("localhost", 587, "starttls", "")


def test_a_missing_ca_file_is_a_configuration_error(tmp_path: Path) -> None:
    """It must not be retried like a network failure."""
    server = SmtpServer(host="h", port=587, ca_file=tmp_path / "ca.pem")
    with pytest.raises(ConfigurationError, match="cannot be used") as caught:
        make_tls_context(server)
    assert caught.value.__cause__ is None


def test_tls_verifies_the_certificate() -> None:
    """And the host name."""
    context = make_tls_context(SmtpServer(host="mail.example.com", port=587))
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_server_does_not_show_its_password() -> None:
    """In logs and tracebacks."""
    assert "hunter2" not in repr(SmtpServer(host="h", port=1, username="u", password="hunter2"))


@pytest.mark.parametrize("name", ["web.example.com", "web.example.com.", "[192.0.2.1]", "[IPv6:2001:db8::1]"])
def test_a_full_name_is_one_that_servers_accept(name: str) -> None:
    """A host with its domain, or an address."""
    assert is_full_host_name(name)


@pytest.mark.parametrize("name", ["3f2a9c1b7d4e", "localhost", "localhost.localdomain"])
def test_the_name_of_a_container_is_no_full_name(name: str) -> None:
    """Mail servers reject it."""
    assert not is_full_host_name(name)
