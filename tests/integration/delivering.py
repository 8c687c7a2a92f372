"""A worker's delivery with a real log and a real mail server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailctl.delivery_log.operator_actions import AuditInfo
from mailctl.delivery_log.suppressions import SuppressionSource
from mailctl.diagnosis.eligibility_checker import EligibilityChecker
from mailctl.domain.catalog import WELCOME
from mailctl.domain.eligibility import RETRY
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from mailctl.worker.delivery import Delivery
from mailctl.worker.event_loop import CoroutineRun, EventLoopThread

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from mailctl.domain.catalog import Kind
    from mailctl.domain.models import Email
    from mailctl.domain.states import State
    from mailctl.worker.outcome_recorder import DeliveryResult
    from tests.smtp_server import ScriptedSmtpServer


WORKER = "w@host"


class Loop(EventLoopThread):
    """An event loop that remembers what runs on it."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[CoroutineRun[Any]] = []

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> CoroutineRun[Any]:
        self.runs.append(super().start(coroutine))
        return self.runs[-1]


class Post:
    """A delivery with its log and its mail server."""

    def __init__(self, folder: Path, smtp: ScriptedSmtpServer, **more: object) -> None:
        self.smtp = smtp
        self.runtime = Runtime(
            Settings(
                email_enabled=True,
                email_host="127.0.0.1",
                email_port=smtp.port,
                email_tls="none",
                mailctl_home=folder,
                secret_key="a-secret-key-of-the-service-that-is-long",  # type: ignore[arg-type]
                **more,  # type: ignore[arg-type]
            )
        )
        self._event_loop = self.loop = Loop()
        self._sender = self.runtime.make_sender()
        self.delivery = self._make_delivery(self.runtime)
        self._others: list[Runtime] = []

    def _make_delivery(self, runtime: Runtime) -> Delivery:
        # A busy machine may take longer than a turn for what each test asks for.
        return Delivery(runtime, event_loop=self._event_loop, sender=self._sender, turn_seconds=60.0)

    def runtime_with(self, **changed: object) -> Runtime:
        """Return the parts of a process on the same log with other settings."""
        runtime = Runtime(self.runtime.settings.model_copy(update=changed))
        self._others.append(runtime)
        return runtime

    def with_settings(self, **changed: object) -> Delivery:
        """Return a delivery on the same log with other settings, as after a restart."""
        runtime = self.runtime_with(**changed)
        return self._make_delivery(runtime)

    def receive(
        self, task_id: str, kind: Kind, arguments: dict[str, object], *, delivery: Delivery | None = None
    ) -> DeliveryResult:
        """Deliver a message of another program as its task does."""
        return (delivery or self.delivery).deliver_message(
            task_id, EmailRequest(kind=kind), arguments, queue="celery", worker=WORKER
        )

    def retry(self, email_id: str) -> None:
        """Retry an email as an operator."""
        facts = EligibilityChecker(self.runtime).available_actions(self.email(email_id))
        assert "retry" in [each.action for each in facts]
        states, audit = RETRY.allowed_states, AuditInfo(actor="zoe@desk")
        assert self.runtime.actions.retry(
            [email_id], from_states=states, audit=audit, lifetime=None, is_forced=False, again=False
        )

    def record(self, address: str = "zoe@example.com") -> str:
        """Record a welcome email, and mark it as queued."""
        content = make_content(WELCOME, make_user(email=address), origins=self.runtime.link_origins)
        [email_id] = Enqueuer(self.runtime).record(EmailRequest(kind=WELCOME), [content]).ids
        self.runtime.publications.mark_queued([email_id])
        return email_id

    def deliver(self, email_id: str) -> DeliveryResult:
        """Deliver an email as its task does."""
        return self.delivery.deliver(email_id, worker=WORKER)

    def deliver_batch(self, ids: list[str]) -> int:
        """Deliver a batch as its task does, wait until it is recorded, and return how many were started."""
        started = self.delivery.deliver_batch(ids, worker=WORKER)
        self.delivery.finish()
        return started

    def email(self, email_id: str) -> Email:
        """Return an email from the log."""
        return self.runtime.history.find(email_id)[0]

    def close(self) -> None:
        """Close everything."""
        self.delivery.close()
        self._event_loop.close(self._sender.close())
        for other in self._others:
            other.close()
        self.runtime.close()


def record(post: Post, kind: Kind = WELCOME, address: str = "zoe@example.com", **how: Any) -> str:
    """Record an email, and return its id."""
    content = make_content(kind, make_user(email=address, id=how.pop("user_id", None)), origins=frozenset())
    return Enqueuer(post.runtime).record(EmailRequest(kind=kind, **how), [content]).ids[0]


def states(post: Post, ids: list[str]) -> list[State]:
    """Return where emails stand."""
    return [post.email(email_id).state for email_id in ids]


def suppress(post: Post, *addresses: str) -> None:
    """Do what `mailctl suppress add` does."""
    post.runtime.suppressions.add(
        dict.fromkeys(addresses, "asked us to stop"), source=SuppressionSource.OPERATOR, actor="ops@host"
    )
