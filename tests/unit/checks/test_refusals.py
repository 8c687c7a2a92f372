"""What workers were told by the mail server in the last hour."""

from __future__ import annotations

from mailctl.checks.refusals import findings_of, fix_for
from mailctl.delivery_log.refusals import LoggedEnd
from mailctl.domain.outcomes import OUR_FAULTS, SmtpReply
from tests.emails import NOW
from tests.unit.checks.samples import FAIL, OK, WARN

RELAY = SmtpReply(code=554, enhanced="5.7.1", text="Relay access denied")
DEAD = SmtpReply(code=550, enhanced="5.1.1", text="User unknown")


def end(reply: SmtpReply | None = None, stage: str = "rcpt") -> LoggedEnd:
    return LoggedEnd(email_id="e", at=NOW, recipient="ada@example.com", reply=reply, stage=stage)


def test_a_fault_of_ours_is_a_failure_with_its_fix() -> None:
    """Each once, with the number of attempts that it ended."""
    [finding] = findings_of([end(RELAY), end(DEAD), end(RELAY)])
    assert finding.status is FAIL
    assert "2 attempts with: 554 5.7.1 Relay access denied (at rcpt)" in finding.detail
    assert "relay" in finding.fix


def test_a_fault_that_is_over_is_a_warning() -> None:
    """The mail server has accepted email since."""
    [finding] = findings_of([end(), end(RELAY)])
    assert (finding.status, "accepted other emails since" in finding.detail) == (WARN, True)


def test_the_faults_of_recipients_are_no_finding() -> None:
    """Nor is an hour without any attempt."""
    assert [each.status for each in findings_of([end(DEAD), end()])] == [OK]
    assert list(findings_of([])) == []


def test_there_is_a_fix_for_every_fault_of_ours() -> None:
    """What to do depends on what the reply is about."""
    assert all(fix_for(category) for category in OUR_FAULTS)
