"""The steps of a session have one time budget."""

from __future__ import annotations

import asyncio
import re

import pytest

from mailctl.smtp.probe import probe_recipient
from mailctl.smtp.server import SmtpServer
from tests.smtp_server import ScriptedSmtpServer, Stall


@pytest.mark.parametrize("stage", ["ehlo", "mail", "rcpt"])
def test_a_session_ends_when_its_time_is_up(stage: str) -> None:
    """However long a reply may take; what was found before is kept."""
    with ScriptedSmtpServer({stage: lambda _: Stall(600)}) as smtp:
        server = SmtpServer(host="127.0.0.1", port=smtp.port, tls="none", timeout_seconds=600)
        asked = probe_recipient(server, sender="a@example.com", recipient="b@example.com", seconds=0.5)
        *before, last = asyncio.run(asked)
    assert all(step.ok for step in before)
    assert (last.ok, last.category) == (False, None)
    assert re.fullmatch(r"not done at \w+, 0.5 s after the session began", last.detail)
    assert bool(last.fix) == (stage == "ehlo")


@pytest.mark.parametrize(("stage", "is_address_right"), [("ehlo", True), ("banner", False)])
def test_a_server_that_greets_and_then_is_silent_is_not_taken_for_a_wrong_address(
    stage: str, is_address_right: bool
) -> None:
    """Nor for a firewall, which lets no greeting through."""
    with ScriptedSmtpServer({stage: lambda _: Stall(600)}) as smtp:
        server = SmtpServer(host="127.0.0.1", port=smtp.port, tls="none", timeout_seconds=0.5)
        asked = probe_recipient(server, sender="a@example.com", recipient="b@example.com", seconds=5)
        [step] = asyncio.run(asked)
    assert (step.name, step.ok, "address is right" in step.fix) == ("connect", False, is_address_right)
    is_ungreeted = stage == "banner"
    assert ("timed out after 0.5 s at connect: no greeting" in step.detail) == is_ungreeted
    assert ("It accepts connections: check that EMAIL_TLS" in step.fix) == is_ungreeted
