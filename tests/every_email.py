"""A delivery log with an email in every state, for every reason, and with everything that can be amiss."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from mailctl.delivery_log.operator_actions import AuditInfo
from mailctl.delivery_log.pauses import PauseScope
from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.tables import emails
from mailctl.delivery_log.suppressions import SuppressionSource
from mailctl.domain.eligibility import CANCEL, HOLD, PURGE
from mailctl.domain.factory import make_drafts
from mailctl.domain.models import Content, Deferral, User
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.domain.own_tasks import outcome_of_error, outcome_of_value
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.feedback import Feedback, FeedbackKind, Proof, record
from mailctl.smtp.classify import reply_category
from tests.emails import utc_now
from tests.workers import worker

if TYPE_CHECKING:
    from mailctl.domain.models import Claim
    from mailctl.runtime import Runtime

#: A module for MAILCTL_CATALOG: a kind that needs nothing to be said, and one that does.
CATALOG = """
from datetime import timedelta
from mailctl.domain.catalog import Kind

KINDS = [
    Kind(name="plain", subject="Plain", template="plain", lifetime=timedelta(days=1)),
    Kind(name="invoice", subject="Invoice", template="plain", lifetime=timedelta(days=1),
         variables=("number", "amount"), samples={"number": "1", "amount": "2"}),
]
"""
#: Names that other programs and operators have chosen: a shell acts on them, or they look like options.
HOSTILE_QUEUE = "celery;touch${IFS}pwned"
HOSTILE_CAMPAIGN = "--yes $(touch pwned)"
HOSTILE_WORKER = "w'`touch pwned`@host"
HOSTILE_IDS = ("--yes", "-rf", "a;touch${IFS}pwned", "$(touch${IFS}pwned)", "it's", '"', "&", "\\", "#1", "*")
LINK = {"reset_url": "https://app.example.org/reset-password?t=made-elsewhere"}


def outcome(
    kind: OutcomeKind, code: int | None = None, enhanced: str | None = None, stage: str = "rcpt"
) -> Outcome:
    """Return what became of an attempt."""
    reply = SmtpReply(code=code, enhanced=enhanced, text="said so")
    category = reply_category(reply, stage=stage) if enhanced else None
    return Outcome(kind=kind, reply=reply, stage=stage, category=category)


REFUSED = outcome(OutcomeKind.REFUSED, 550, "5.7.1", "body")
DEAD = outcome(OutcomeKind.REFUSED, 550, "5.1.1")
FULL = outcome(OutcomeKind.REFUSED, 552, "5.2.2")
LATER = outcome(OutcomeKind.DEFERRED, 451, "4.3.0", "body")
LOST = outcome(OutcomeKind.AMBIGUOUS, stage="body")
ACCEPTED = outcome(OutcomeKind.ACCEPTED, 250)
CAPTURED = Outcome(kind=OutcomeKind.CAPTURED, captured_file="mail/x.eml")


@dataclass
class EveryEmail:
    """Records the emails.

    Args:
        parts: of the log.
    """

    parts: Runtime
    #: Their ids, by what each is.
    ids: dict[str, str] = field(default_factory=dict)
    _number: int = 0

    def record_all(self) -> dict[str, str]:
        """Record one of each; return their ids by what they are."""
        self._waiting()
        self._delivered()
        self._failed()
        self._stopped()
        self._suppressed()
        self._named_by_others()
        return self.ids

    def record(
        self,
        what: str,
        kind: str = "welcome",
        *,
        content: Content | None = None,
        queue: str = "",
        id: str = "",
        **more: Any,
    ) -> str:
        """Record an email to somebody new."""
        self._number += 1
        made = content or Content(user=User(email=f"user{self._number}@example.com"))
        known = self.parts.catalog.get(kind)
        now = utc_now()
        [draft] = make_drafts(
            EmailRequest(kind=known, **more),
            [made],
            queue=queue or Enqueuer(self.parts).queue_for(known),
            now=now,
        )
        draft = replace(draft, id=id) if id else draft
        self.parts.outbox.add([draft], due_at=now)
        self.ids[what] = draft.id
        return draft.id

    def change(self, email_id: str, **values: Any) -> None:
        """Make a row what the passing of time, or somebody else, would make of it."""
        with writing(self.parts.engine) as connection:
            connection.execute(update(emails).where(emails.c.id == email_id).values(**values))

    def claim(self, email_id: str, worker: str = "w@host") -> Claim:
        """Let a worker take an email."""
        [claim] = self.parts.claims.claim([email_id], worker=worker).claims
        return claim

    def finish(
        self, email_id: str, state: State, result: Outcome | None, reason: Reason | None = None
    ) -> str:
        """Let a worker end an email."""
        if reason is None and result is not None and state not in (State.SENT, State.CAPTURED):
            reason = Reason(code=ReasonCode.REFUSED, text=result.text_after("refused"))
        self.parts.attempt_results.finish(self.claim(email_id), state, outcome=result, reason=reason)
        return email_id

    def defer(self, email_id: str, result: Outcome, *, until: datetime | None = None) -> str:
        """Let a worker put an email off."""
        claim = self.claim(email_id)
        when = until or utc_now() + timedelta(minutes=5)
        deferral = Deferral(claim=claim, until=when, outcome=result, message_id="<x@example.org>")
        self.parts.attempt_results.defer(deferral)
        return email_id

    def stop(self, email_id: str, action: Any = HOLD, bulk_action_id: str | None = None) -> str:
        """Let an operator stop an email."""
        target = State.HELD if action is HOLD else State.CANCELLED
        audit = AuditInfo(actor="ada@desk", bulk_action_id=bulk_action_id)
        assert self.parts.actions.stop(
            [email_id], target, from_states=action.allowed_states, done=action.past_participle, audit=audit
        )
        return email_id

    def age(self, email_id: str) -> str:
        """Let the time of an email pass."""
        with writing(self.parts.engine) as connection:
            self.parts.outbox.set_expiry(connection, [email_id], utc_now() - timedelta(hours=1))
        return email_id

    def _waiting(self) -> None:
        publications = self.parts.publications
        self.record("pending")
        self.record("pending, late", "reset")
        self.age(self.ids["pending, late"])
        self.record("scheduled", not_before=utc_now() + timedelta(hours=2))
        publications.mark_queued([self.record("queued")])
        publications.mark_queued([self.record("queued in a worker")], worker_id="w1")
        publications.mark_queued([self.record("queued, of no kind any more")])
        self.change(self.ids["queued, of no kind any more"], kind="gone")
        self.claim(self.record("sending"))
        self.claim(self.record("sending, lease over"))
        self.change(self.ids["sending, lease over"], lease_until=utc_now() - timedelta(seconds=5))
        self.defer(self.record("deferred"), LATER)
        self.defer(self.record("deferred, maybe sent"), LOST)
        self.defer(self.record("deferred, due"), LATER, until=utc_now())
        self.record("pending, with a key", idempotency_key="order-7")
        self.record("pending, not publishable")
        publications.postpone(self.ids["pending, not publishable"], until=utc_now(), reason="it cannot be")

    def _delivered(self) -> None:
        for kind in ("welcome", "reset", "verification", "new-ip", "email", "plain", "invoice"):
            for state, result in ((State.SENT, ACCEPTED), (State.CAPTURED, CAPTURED)):
                self.finish(self.record(f"{state} {kind}", kind, content=_content(kind)), state, result)
        for user_id in ("1", "999", "no number"):
            content = Content(user=User(email="ada@example.com", id=user_id))
            self.finish(self.record(f"sent to user {user_id}", content=content), State.SENT, ACCEPTED)
        for kind in ("delivered", "bounced", "complained", "delayed"):
            self.finish(self.record(f"sent, {kind}"), State.SENT, ACCEPTED)
            report = Feedback(
                source="dsn",
                source_id=kind,
                kind=FeedbackKind(kind),
                proof=Proof.VERIFIED,
                email_id=self.ids[f"sent, {kind}"],
                smtp_code=550,
                diagnostic="$(touch pwned)",
            )
            record(self.parts, [report])
        gone = self.finish(self.record("sent, of no kind any more"), State.SENT, ACCEPTED)
        self.change(gone, kind="gone")
        own = self.record("sent by a task of the service's own")
        self.parts.publications.mark_queued([own], is_own_task=True)
        self.parts.own_task_emails.finish(
            own, outcome_of_value(True, task="own", translate=lambda *_: "sent")
        )
        own = self.record("unconfirmed by a task of the service's own")
        self.parts.publications.mark_queued([own], is_own_task=True)
        self.parts.own_task_emails.finish(own, outcome_of_value(True, task="own"))

    def _failed(self) -> None:
        for what, result in (("refused", REFUSED), ("dead mailbox", DEAD), ("full mailbox", FULL)):
            self.finish(self.record(f"failed, {what}"), State.FAILED, result)
        self.finish(self.defer(self.record("failed, maybe sent"), LOST, until=utc_now()), State.FAILED, LATER)
        self.defer(self.record("failed, out of attempts"), LATER, until=utc_now())
        gave_up = Reason(code=ReasonCode.OUT_OF_ATTEMPTS, text="gave up after 2 attempts")
        self.finish(self.ids["failed, out of attempts"], State.FAILED, LATER, gave_up)
        not_made = Reason(code=ReasonCode.NOT_COMPOSED, text="the template is broken")
        self.finish(self.record("failed, not made"), State.FAILED, None, not_made)
        own = self.record("failed, by a task of the service's own")
        self.parts.publications.mark_queued([own], is_own_task=True)
        self.parts.own_task_emails.finish(own, outcome_of_error("ValueError", "no"))
        for what, values in (
            ("content forgotten", {"content": None}),
            ("of no kind any more", {"kind": "gone"}),
            ("content sealed with another key", {"content": b"sealed by somebody else"}),
            ("late", {}),
            ("content forgotten, and no address", {"content": None, "to_address": ""}),
        ):
            content = Content(user=User(email="late@example.com"))
            failed = self.finish(
                self.record(f"failed, {what}", "reset", content=content), State.FAILED, REFUSED
            )
            if what == "late":
                self.age(failed)
            else:
                self.change(failed, **values)
        for what in ("with links of others", "late, with links of others"):
            content = Content(user=User(email="zoe@example.com"), urls=LINK)
            self.finish(self.record(f"failed, {what}", "reset", content=content), State.FAILED, REFUSED)
        self.age(self.ids["failed, late, with links of others"])
        draft = make_drafts(
            EmailRequest(kind=self.parts.catalog.get("welcome")),
            [_content("welcome")],
            queue="celery",
            now=utc_now(),
        )
        self.parts.outbox.record_failed_message(draft[0], reason="its header retries is not usable.")
        self.ids["failed, a message that could not be read"] = draft[0].id
        old = self.finish(self.record("failed, sent again"), State.FAILED, REFUSED)
        new = make_drafts(
            EmailRequest(kind=self.parts.catalog.get("welcome")),
            [_content("welcome")],
            queue="celery",
            now=utc_now(),
        )[0]
        assert self.parts.actions.resend(
            old, new, from_states=(State.FAILED,), audit=AuditInfo(actor="ada"), again=False
        )
        self.ids["pending, made of another"] = new.id

    def _stopped(self) -> None:
        self.stop(self.record("held"))
        self.age(self.stop(self.record("held, late", "reset")))
        self.change(self.stop(self.record("held, of no kind any more")), kind="gone")
        content = Content(user=User(email="zoe@example.com"), urls=LINK)
        self.age(self.stop(self.record("held, late, with links of others", "reset", content=content)))
        doubt = "the mail server may have it already (timed out after 600 s at body)"
        in_doubt = Reason(code=ReasonCode.NO_REPLY, text=doubt)
        self.finish(self.record("held, maybe sent"), State.HELD, LOST, in_doubt)
        self.stop(self.record("cancelled"), CANCEL)
        self.age(self.stop(self.record("cancelled, late", "reset"), CANCEL))
        self.change(self.stop(self.record("cancelled, content forgotten"), CANCEL), content=None)
        self.stop(self.record("purged"), PURGE, bulk_action_id="purge-abc123")
        self.age(self.record("expired", "reset"))
        self.age(self.defer(self.record("expired, maybe sent", "reset"), LOST, until=utc_now()))
        content = Content(user=User(email="zoe@example.com"), urls=LINK)
        self.age(self.record("expired, with links of others", "reset", content=content))
        self.parts.recovery.expire()

    def _suppressed(self) -> None:
        address = "dead+'$(touch pwned)'@example.com".replace(" ", "").replace("(", "").replace(")", "")
        listed = {
            "listed@example.com": "gone",
            "-x@example.com": "gone",
            address: "gone",
            "off@example.com": "",
        }
        self.parts.suppressions.add(listed, source=SuppressionSource.OPERATOR, actor="ada@desk")
        for name in listed:
            self.record(f"suppressed, {name}", content=Content(user=User(email=name)))
        self.parts.suppressions.remove(["off@example.com"])
        for number in range(6):
            limited = Content(user=User(email="often@example.com"))
            self.record(f"over the limit, {number}", "reset", content=limited)
        forced = self.record(
            "failed, forced", content=Content(user=User(email="listed@example.com")), forced_by="ada"
        )
        self.finish(forced, State.FAILED, REFUSED)

    def _named_by_others(self) -> None:
        for each in HOSTILE_IDS:
            self.finish(self.record(f"failed, id {each}", id=each), State.FAILED, REFUSED)
        self.record("pending, id", id=f"-{HOSTILE_QUEUE}")
        self.record("pending, hostile queue", queue=HOSTILE_QUEUE)
        self.record("pending, queue like an option", queue="--all")
        self.record("pending, queue with a comma", queue="a,b")
        self.parts.publications.mark_queued([self.record("queued, hostile queue", queue=HOSTILE_QUEUE)])
        for what in ("pending", "failed"):
            member = self.record(f"{what}, in a campaign", queue="mailctl.bulk")
            if what == "failed":
                self.finish(member, State.FAILED, REFUSED)
            self.change(member, campaign=HOSTILE_CAMPAIGN)
        self.claim(self.record("sending, hostile worker"), worker=HOSTILE_WORKER)
        self.record("pending, paused queue", queue="-stopped $HOME")
        self.record("pending, paused kind", "verification")
        self.record("pending, paused kind that is gone")
        self.change(self.ids["pending, paused kind that is gone"], kind="gone")
        pauses = self.parts.pauses
        for scope, name in (
            (PauseScope.QUEUE, "-stopped $HOME"),
            (PauseScope.KIND, "verification"),
            (PauseScope.KIND, "gone"),
        ):
            pauses.pause(scope, name, actor="ada@desk", reason="`touch pwned`")


def _content(kind: str) -> Content:
    user = User(email="ada@example.com")
    if kind == "email":
        return Content(user=user, subject="Hi", template="message", context={"body": "x"})
    return Content(user=user, context={"new-ip": {"ip_address": "203.0.113.7"}}.get(kind, {}))


def beat(parts: Runtime, name: str, *, pid: int, queues: tuple[str, ...], host: str = "") -> None:
    """Let the log know of a worker that is alive."""
    now = utc_now()
    parts.workers.record_heartbeat(
        worker(now, id=name, name=name, host=host or socket.gethostname(), pid=pid, queues=queues)
    )
