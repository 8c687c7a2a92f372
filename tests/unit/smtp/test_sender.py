"""The settings of the mail server."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from mailctl.settings import Settings
from mailctl.smtp.sender import smtp_server_from_settings
from mailctl.smtp.session import SmtpServer


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
