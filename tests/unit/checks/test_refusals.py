"""What workers were told by the mail server in the last hour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.checks.refusals import findings_of, fix_for
from mailctl.delivery_log.refusals import LoggedEnd
from mailctl.domain.outcomes import OUR_FAULTS, SmtpReply
from mailctl.settings import Settings
from mailctl.smtp.mail_servers import mail_servers_from_settings
from tests.emails import NOW
from tests.unit.checks.samples import FAIL, OK, WARN

if TYPE_CHECKING:
    from pathlib import Path

RELAY = SmtpReply(code=554, enhanced="5.7.1", text="Relay access denied")
DEAD = SmtpReply(code=550, enhanced="5.1.1", text="User unknown")


def end(reply: SmtpReply | None = None, stage: str = "rcpt", *, server: str = "default") -> LoggedEnd:
    return LoggedEnd(
        email_id="e", at=NOW, recipient="ada@example.com", reply=reply, stage=stage, server=server
    )


def test_a_fault_of_ours_is_a_failure_with_its_fix() -> None:
    """Each once, with the number of attempts that it ended."""
    [finding] = findings_of([end(RELAY), end(DEAD), end(RELAY)])
    assert finding.status is FAIL
    assert (
        "2 attempts ended with this reply of the mail server: 554 5.7.1 Relay access denied (at rcpt)"
        in finding.detail
    )
    assert "relay" in finding.fix


def test_a_fault_that_is_over_is_a_warning() -> None:
    """The mail server has accepted email since."""
    [finding] = findings_of([end(), end(RELAY)])
    assert (finding.status, "accepted other emails since" in finding.detail) == (WARN, True)


def test_each_mail_server_is_judged_by_what_it_has_said_itself(tmp_path: Path) -> None:
    """What another one accepts is no news about it; its own settings are named."""
    file = tmp_path / "servers.toml"
    file.write_text('[servers.backup]\nhost = "b.example"\n[[routes]]\nservers = ["default", "backup"]\n')
    servers = mail_servers_from_settings(Settings(mailctl_servers=file)).by_name
    [finding] = findings_of([end(), end(RELAY, server="backup"), end(DEAD)], servers)
    assert (finding.name, finding.status) == ("backup: last-hour", FAIL)
    assert "servers.backup.user and servers.backup.password" in finding.fix
    assert "EMAIL_" not in finding.fix


def test_the_faults_of_recipients_are_no_finding() -> None:
    """Nor is an hour without any attempt."""
    assert [each.status for each in findings_of([end(DEAD), end()])] == [OK]
    assert list(findings_of([])) == []


def test_there_is_a_fix_for_every_fault_of_ours() -> None:
    """What to do depends on what the reply is about."""
    assert all(fix_for(category) for category in OUR_FAULTS)
