"""The settings for sources of mail name a place on this host, or a mailbox with TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailctl.domain.feedback_sources import LmtpAddress, parse_lmtp_address, require_maildir
from mailctl.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:24", LmtpAddress(host="127.0.0.1", port=24)),
        ("[::1]:24", LmtpAddress(host="::1", port=24)),
        ("/run/feedback.sock", LmtpAddress(path="/run/feedback.sock")),
    ],
)
def test_lmtp_listens_at_a_port_or_a_path(text: str, address: LmtpAddress) -> None:
    """Of this host."""
    assert parse_lmtp_address(text) == address


@pytest.mark.parametrize(
    "text", ["0.0.0.0:24", "mail.example.com:24", "24", "relative.sock", "127.0.0.1:x", "127.0.0.1:65536"]
)
def test_lmtp_listens_on_this_host_alone(text: str) -> None:
    """Nobody else may hand feedback over without signing in."""
    with pytest.raises(ConfigurationError, match="MAILCTL_FEEDBACK_LMTP"):
        parse_lmtp_address(text)


@pytest.mark.parametrize("folder", ["/dev/null", "/nowhere", "x" * 5_000])
def test_what_is_no_folder_is_no_maildir(folder: str) -> None:
    """Whatever the system says of it."""
    with pytest.raises(ConfigurationError, match="MAILCTL_FEEDBACK_MAILDIR"):
        require_maildir(Path(folder))
