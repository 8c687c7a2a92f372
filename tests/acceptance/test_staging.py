"""A copy of production, with Redis and a real worker, that can mail nobody but those who test it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from celery import Celery

    from tests.acceptance.terminal import Terminal
    from tests.smtp_server import ScriptedSmtpServer

ZOE = {"username": "zoe", "email": "zoe@example.com", "first_name": "Zoe"}


@pytest.mark.parametrize("is_redirected", [True, False])
def test_no_real_user_is_mailed(
    production: Terminal, smtp_server: ScriptedSmtpServer, client: Celery, is_redirected: bool
) -> None:
    """Neither by a command nor by another program's message, neither with a reference nor in full."""
    name = "MAILCTL_REDIRECT_TO" if is_redirected else "MAILCTL_RECIPIENTS_ALLOW"
    production.set(**{name: "qa@example.org"})
    production.folder.joinpath(".env").chmod(0o644)
    worker = production.worker("-c", "1")
    assert "SECRET_KEY" in worker.output
    assert "chmod o-r .env" in worker.output
    theirs = client.send_task("send_welcome_email_task", kwargs={"user_data": ZOE}).id
    ours = production.send("welcome", "--email", ZOE["email"])
    forced = production.send("welcome", "--email", ZOE["email"], "--force", MAILCTL_MESSAGES="full")
    tester = production.send("welcome", "--email", "qa@example.org")
    for task_id in (theirs, ours, forced):
        production.wait_for(task_id, "sent" if is_redirected else "suppressed")
    production.wait_for(tester, "sent")
    assert {message.recipients for message in smtp_server.messages} == {("qa@example.org",)}
    assert len(smtp_server.messages) == (4 if is_redirected else 1)
    subjects = [message.data.count(b"Subject: [to zoe@example.com]") for message in smtp_server.messages]
    assert sum(subjects) == (3 if is_redirected else 0)
