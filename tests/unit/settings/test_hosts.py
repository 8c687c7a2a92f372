"""Where a mail server is."""

from __future__ import annotations

import pytest

from mailctl.settings.hosts import server_address, validate_host, validate_mail_host


@pytest.mark.parametrize("value", ["mail.example", "127.0.0.1", "::1", "unix:/run/mail.sock"])
def test_a_mail_server_is_at_a_host_or_a_socket(value: str) -> None:
    """Both are taken as they are."""
    assert validate_mail_host(value) == value


@pytest.mark.parametrize("value", ["unix:run/mail.sock", "unix:", f"unix:/{'x' * 103}", "unix:/a\nb"])
def test_a_socket_needs_a_path_that_can_be_used(value: str) -> None:
    """Absolute, because processes have different folders, and short enough for the system."""
    with pytest.raises(ValueError, match="must be unix: and an absolute path of at most 103 bytes"):
        validate_mail_host(value)


def test_other_hosts_are_no_sockets() -> None:
    """Redis has URLs for them."""
    with pytest.raises(ValueError, match="must be the name or the IP address"):
        validate_host("unix:/run/redis.sock")


def test_a_socket_has_no_port() -> None:
    """In what people and the log call it."""
    assert server_address("mail.example", 25) == "mail.example:25"
    assert server_address("unix:/run/mail.sock", 25) == "unix:/run/mail.sock"
