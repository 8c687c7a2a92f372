"""Tokens that the service gives: how long they let an email live, and where they are shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import time_machine

from mailctl.delivery_log.operator_actions import AuditInfo
from mailctl.diagnosis.eligibility_checker import EligibilityChecker
from mailctl.domain.catalog import GENERIC, RESET
from mailctl.domain.eligibility import RESEND, RETRY, Action, Hazard
from mailctl.domain.factory import make_user
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.errors import InvalidInput
from mailctl.operations.action_models import ActionRequest
from mailctl.operations.bulk_actions import BulkAction
from mailctl.operations.message_viewer import MessageViewer
from mailctl.operations.selection import select_by_ids
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.tokens import hs256

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mailctl.domain.models import Email

ZOE = make_user(email="zoe@example.com", id=7, username="zoe")


class Log:
    """A delivery log with emails that carry tokens of the service."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.runtime = Runtime(Settings(mailctl_home=folder, **settings))

    def record(self, token: str, **request: Any) -> str:
        """Record a password reset with a token."""
        made = EmailRequest(kind=RESET, tokens={"token": token}, **request)
        enqueuer = Enqueuer(self.runtime)
        [email_id] = enqueuer.record(made, [enqueuer.make_content(made, ZOE)]).ids
        return email_id

    def email(self, email_id: str) -> Email:
        """Return an email from the log."""
        [email] = self.runtime.history.emails([email_id])
        return email

    def fail(self, email_id: str) -> None:
        """Let an email fail."""
        self.runtime.publications.fail(email_id, reason="for a test")

    def obstacle(self, action: Action, email_id: str) -> str:
        """Return why an action is not possible."""
        checker = EligibilityChecker(self.runtime)
        [(_, result)] = checker.check(action, [self.email(email_id)], include=[Hazard.EXPIRED])
        return result.obstacle


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    """A log in development."""
    log = Log(tmp_path)
    yield log
    log.runtime.close()


def test_a_jwt_limits_the_life_of_its_email(log: Log) -> None:
    """In the log, from the moment in which it is recorded."""
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=20)
    assert log.email(log.record(hs256({"sub": "7"}, exp=soon))).expires_at == soon


def test_a_token_that_is_dead_when_the_email_is_due_is_refused(log: Log) -> None:
    """The one who schedules it learns that at once."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    with pytest.raises(InvalidInput, match="token expires too early"):
        log.record("an-opaque-token", not_before=tomorrow)


@pytest.mark.parametrize("action", [RETRY, RESEND])
def test_an_email_is_not_sent_again_with_a_dead_token(log: Log, action: Action) -> None:
    """Nothing makes the token live longer."""
    email_id = log.record("an-opaque-token")
    log.fail(email_id)
    assert log.obstacle(action, email_id) == ""
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=2)):
        assert log.obstacle(action, email_id) == "its links came with it, and they have expired"


def test_a_sealed_token_gets_a_new_life_with_its_email(tmp_path: Path) -> None:
    """mailctl seals it again at each attempt; only the `exp` of a JWT is a limit."""
    log = Log(tmp_path, mailctl_link_tokens="sealed")
    opaque = log.record("an-opaque-token")
    jwt = log.record(hs256({"sub": "7"}, exp=datetime.now(UTC) + timedelta(minutes=30)))
    for email_id in (opaque, jwt):
        log.fail(email_id)
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=2)):
        assert log.obstacle(RETRY, opaque) == ""
        assert log.obstacle(RETRY, jwt) == "its links came with it, and they have expired"
    log.runtime.close()


def test_a_resent_email_lives_no_longer_than_its_token(log: Log) -> None:
    """The token was given to the old one."""
    email_id = log.record("an-opaque-token")
    log.fail(email_id)
    old = log.email(email_id)
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=20)):
        request = ActionRequest(action=RESEND, audit=AuditInfo(actor="zoe"))
        selection = select_by_ids(log.runtime, [email_id])
        [result] = BulkAction(log.runtime, request).execute(selection)
        new = log.email(str(result.new_id))
    assert new.expires_at == old.created_at + RESET.links[0].lifetime
    assert new.expires_at is not None
    assert new.expires_at < new.created_at + RESET.lifetime


@pytest.mark.parametrize("token", ["swordfish", hs256({"sub": "7"}), "letters-only-token"])
@pytest.mark.parametrize("paths", ["", "reset-password=/r/{token}", "reset-password=/#/r/{token}"])
def test_a_token_is_masked_wherever_the_message_is_shown(tmp_path: Path, token: str, paths: str) -> None:
    """While the email waits, and when only the file that it was captured to is left."""
    log = Log(tmp_path, mailctl_link_paths=paths)
    email_id = log.record(token)
    viewer = MessageViewer(log.runtime, reveals=False)
    shown = repr(viewer.show(email_id))
    assert token not in shown
    assert "/***" in shown or "=***" in shown or "#***" in shown
    revealed = MessageViewer(log.runtime, reveals=True).show(email_id)
    assert token in str(revealed.text)
    log.runtime.close()


@pytest.mark.parametrize(
    ("context", "field"),
    [
        ({"user": {"profile": {"avatar_url": "javascript:alert(1)"}}}, "avatar_url"),
        ({"user": {"links": [{"reset_url": "https://evil.example/"}]}}, "reset_url"),
        ({"sign_ins": [{"ip_address": "not an address"}]}, "ip_address"),
        ({"user": {"bio": "x" * 200_001}}, "context"),
    ],
)
def test_the_gates_walk_through_nested_variables(log: Log, context: dict[str, Any], field: str) -> None:
    """Links, IP addresses and lengths at any depth, as services pass them to their templates."""
    request = EmailRequest(kind=GENERIC, subject="Hi", template="message", context=context)
    with pytest.raises(InvalidInput) as caught:
        Enqueuer(log.runtime).make_content(request, ZOE)
    assert caught.value.field == field
