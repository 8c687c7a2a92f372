"""Checks of the mail server that need no server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.checks.smtp import check_smtp
from mailctl.settings import Settings
from tests.unit.checks.samples import FAIL, OK, SKIP, WARN, by_name, production

if TYPE_CHECKING:
    from pathlib import Path

    from mailctl.checks.finding import Finding


def check(settings: Settings | None = None, *, send_test: str | None = None) -> dict[str, Finding]:
    """Return the findings by their names."""
    return by_name(check_smtp(settings or Settings(), offline=True, send_test=send_test))


def test_in_development_emails_are_captured(tmp_path: Path) -> None:
    """That is no fault, and the folder is named."""
    finding = check()["connect"]
    assert finding.status is SKIP
    assert f"captured to {tmp_path / '.mailctl' / 'mail'}" in finding.detail


def test_in_production_capturing_is_a_warning() -> None:
    """Somebody waits for these emails."""
    assert check(production(email_enabled=False))["connect"].status is WARN


def test_the_test_message_is_captured_too(tmp_path: Path) -> None:
    """Like every other email."""
    finding = check(send_test="ada@example.com")["send-test"]
    [path] = (tmp_path / ".mailctl" / "mail").iterdir()
    assert (finding.status, finding.detail) == (OK, f"the message was captured to {path}")
    assert b"\r\nSubject: mailctl test message\r\n" in path.read_bytes()


def test_the_test_message_needs_an_address() -> None:
    """One that every other command would accept too."""
    assert check(send_test="ada@example.com\nBcc: eve@example.com")["send-test"].status is FAIL


def test_offline_no_test_message_is_sent() -> None:
    """Neither is a session opened."""
    found = check(production(), send_test="ada@example.com")
    assert {name: finding.detail for name, finding in found.items()} == {
        "connect": "offline",
        "send-test": "offline",
    }


def test_a_folder_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    """With the reason of the operating system."""
    (tmp_path / ".mailctl").mkdir(mode=0o700)
    (tmp_path / ".mailctl" / "mail").write_text("")
    finding = check(send_test="ada@example.com")["send-test"]
    assert finding.status is FAIL
    assert "MAILCTL_HOME" in finding.fix


def test_a_wrong_file_of_mail_servers_is_a_failure(tmp_path: Path) -> None:
    """Also where emails are captured: it will be needed."""
    path = tmp_path / "servers.toml"
    path.write_text("[servers.backup]\n")
    found = check(Settings(MAILCTL_SERVERS=path))["servers"]
    assert found.status is FAIL
    assert "servers.backup.host must be the name" in found.detail


def test_the_mail_servers_are_listed(tmp_path: Path) -> None:
    """With the number of routes to them."""
    path = tmp_path / "servers.toml"
    path.write_text('[servers.b]\nhost = "b.example"\n[[routes]]\nservers = ["default", "b"]\n')
    found = check(Settings(MAILCTL_SERVERS=path))["servers"]
    assert (found.status, found.detail) == (
        OK,
        "localhost:587, b (b.example:587); 1 route",
    )
