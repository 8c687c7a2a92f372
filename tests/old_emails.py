"""Emails and events as versions without reason codes recorded them, and what a migration makes of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State

IN_DOUBT = "the mail server may have it already"


@dataclass(frozen=True, kw_only=True)
class OldEmail:
    """An email as a version without codes recorded it, and what it becomes."""

    id: str
    state: State
    error: str | None
    expected: ReasonCode | None
    attempts: int = 1
    smtp_text: str | None = None
    content: bytes | None = b"sealed"
    #: State, text, actor, and the code and the stage that they become.
    events: list[tuple[State, str, str | None, ReasonCode | None, str | None]] = field(default_factory=list)
    kind: str = "welcome"


R, S = ReasonCode, State
_DEFERRED = "451 4.3.0 later"
OLD = [
    OldEmail(
        id="kept",
        state=S.PENDING,
        error="kept back: the mail server smtp:25 does not work since 12:00 UTC: at auth: 535 no",
        expected=R.MAIL_SERVER_DOWN,
        attempts=0,
        events=[
            (S.PENDING, "recorded", None, None, None),
            (S.QUEUED, "published to the broker", None, None, None),
            (S.PENDING, "kept back: the mail server smtp:25", None, R.MAIL_SERVER_DOWN, None),
        ],
    ),
    OldEmail(
        id="ceiling",
        state=S.PENDING,
        error="over the ceiling: 5 emails per minute (MAILCTL_LIMIT)",
        expected=R.OVER_GLOBAL_LIMIT,
        attempts=0,
        events=[(S.PENDING, "over the ceiling: 5 emails", None, R.OVER_GLOBAL_LIMIT, None)],
    ),
    OldEmail(
        id="unpublished", state=S.PENDING, error="no key opens it", expected=R.PUBLISHING_FAILED, attempts=0
    ),
    OldEmail(
        id="lost",
        state=S.PENDING,
        error=None,
        expected=None,
        events=[
            (S.SENDING, "", None, None, None),
            (
                S.PENDING,
                f"its worker disappeared while sending; {IN_DOUBT} (same Message-ID)",
                None,
                R.WORKER_DISAPPEARED,
                None,
            ),
            (S.PENDING, "the broker lost its message", None, R.BROKER_LOST, None),
            (S.PENDING, "the worker that held its message is gone", None, R.WORKER_LOST, None),
            (S.PENDING, "other emails go first", None, R.NOT_STARTED, None),
            (S.PENDING, "kind welcome paused by ada since 2026-03-01 12:00Z", None, R.PAUSED, None),
            (S.PENDING, "was paused for a moment", None, R.PAUSED, None),
        ],
    ),
    OldEmail(
        id="deferred",
        state=S.DEFERRED,
        error=_DEFERRED,
        expected=R.DEFERRED,
        events=[(S.DEFERRED, f"deferred at rcpt: {_DEFERRED}", None, R.DEFERRED, "rcpt")],
    ),
    OldEmail(
        id="no-reply",
        state=S.DEFERRED,
        error="timed out at body",
        expected=R.NO_REPLY,
        events=[(S.DEFERRED, f"ambiguous at body: timed out at body; {IN_DOUBT}", None, R.NO_REPLY, "body")],
    ),
    OldEmail(
        id="credentials",
        state=S.QUEUED,
        error="535 5.7.8 no",
        expected=R.CONFIGURATION,
        events=[(S.DEFERRED, "config at auth: 535 5.7.8 no", None, R.CONFIGURATION, "auth")],
    ),
    OldEmail(
        id="sealed",
        state=S.DEFERRED,
        error="The content of this email was sealed with another SECRET_KEY.",
        expected=R.UNREADABLE_CONTENT,
        events=[
            (
                S.DEFERRED,
                "The content of this email was sealed with another SECRET_KEY.",
                None,
                R.UNREADABLE_CONTENT,
                None,
            )
        ],
    ),
    OldEmail(
        id="refused",
        state=S.FAILED,
        error="refused at rcpt: 550 5.1.1 at data: no",
        expected=R.REFUSED,
        events=[(S.FAILED, "refused at rcpt: 550 5.1.1 at data: no", None, R.REFUSED, "rcpt")],
    ),
    OldEmail(
        id="gave-up",
        state=S.FAILED,
        error="gave up after 100 attempts; last: 451 later",
        expected=R.OUT_OF_ATTEMPTS,
        events=[(S.FAILED, "gave up after 100 attempts; last: 451 later", None, R.OUT_OF_ATTEMPTS, None)],
    ),
    OldEmail(
        id="workers",
        state=S.FAILED,
        error=f"gave up: 100 workers disappeared while sending it; {IN_DOUBT}",
        expected=R.WORKER_DISAPPEARED,
        events=[
            (
                S.FAILED,
                f"gave up: 100 workers disappeared while sending it; {IN_DOUBT}",
                None,
                R.WORKER_DISAPPEARED,
                None,
            )
        ],
    ),
    OldEmail(
        id="template",
        state=S.FAILED,
        error="The template has no end.",
        expected=R.NOT_COMPOSED,
        events=[(S.FAILED, "The template has no end.", None, R.NOT_COMPOSED, None)],
    ),
    OldEmail(
        id="strange",
        state=S.FAILED,
        error="user_data: is missing.",
        expected=R.INVALID_MESSAGE,
        attempts=0,
        content=None,
        events=[(S.FAILED, "user_data: is missing.", None, R.INVALID_MESSAGE, None)],
    ),
    OldEmail(
        id="own",
        state=S.FAILED,
        error="a task of the service's own reports FAILURE: no",
        expected=R.OWN_TASK_FAILED,
        events=[(S.FAILED, "a task of the service's own reports FAILURE: no", None, R.OWN_TASK_FAILED, None)],
    ),
    OldEmail(
        id="own-sent",
        state=S.SENT,
        error=None,
        expected=None,
        events=[
            (S.SENT, "a task of the service's own reports SUCCESS", None, R.OWN_TASK_SUCCEEDED, None),
        ],
    ),
    OldEmail(
        id="resent",
        state=S.FAILED,
        error="resent as new-1",
        expected=R.RESENT,
        events=[(S.FAILED, "resent as new-1: wrong link", "ada", R.RESENT, None)],
    ),
    OldEmail(
        id="new-1",
        state=S.PENDING,
        error=None,
        expected=None,
        attempts=0,
        events=[(S.PENDING, "recorded; is a resend of resent", "ada", R.RESEND, None)],
    ),
    OldEmail(
        id="held",
        state=S.HELD,
        error="held by ada: kept back: for now",
        expected=R.STOPPED,
        events=[(S.HELD, "held: kept back: for now", "ada", R.STOPPED, None)],
    ),
    OldEmail(
        id="in-doubt",
        state=S.HELD,
        error=f"held: {IN_DOUBT} (timed out)",
        expected=R.NO_REPLY,
        events=[(S.HELD, f"held: {IN_DOUBT} (timed out)", None, R.NO_REPLY, None)],
    ),
    OldEmail(
        id="cancelled",
        state=S.CANCELLED,
        error="purged by ada (purge-1a2b3c)",
        expected=R.STOPPED,
        events=[(S.CANCELLED, "purged", "ada", R.STOPPED, None)],
    ),
    OldEmail(
        id="held-for-a-reason",
        state=S.HELD,
        error="held by ada@desk (hold-0a1b2c): as (purge-1a2b3c) was",
        expected=R.STOPPED,
        events=[(S.HELD, "held: as (purge-1a2b3c) was", "ada@desk", R.STOPPED, None)],
    ),
    OldEmail(
        id="held-by-id",
        state=S.HELD,
        error="held by ada: like (purge-1a2b3c): all of it",
        expected=R.STOPPED,
        events=[(S.HELD, "held: like (purge-1a2b3c): all of it", "ada", R.STOPPED, None)],
    ),
    OldEmail(
        id="retried",
        state=S.PENDING,
        error=None,
        expected=None,
        events=[
            (S.PENDING, "recorded; no rule keeps it back", "ada", R.FORCED, None),
            (S.PENDING, "retried: again", "ada", R.RETRIED, None),
            (S.PENDING, "released", "ada", R.RELEASED, None),
        ],
    ),
    OldEmail(
        id="late",
        state=S.EXPIRED,
        error="its links died, or it lost its use, before it could go out",
        expected=R.EXPIRED,
        events=[
            (S.EXPIRED, "its links died, or it lost its use, before it could go out", None, R.EXPIRED, None)
        ],
    ),
    OldEmail(
        id="too-late",
        state=S.EXPIRED,
        error=f"would expire before the next attempt; last: timed out; {IN_DOUBT}",
        expected=R.WOULD_EXPIRE,
        events=[
            (
                S.EXPIRED,
                f"would expire before the next attempt; last: timed out; {IN_DOUBT}",
                None,
                R.WOULD_EXPIRE,
                None,
            )
        ],
    ),
    OldEmail(
        id="suppressed",
        state=S.SUPPRESSED,
        error="the address is suppressed since 2026-03-01 (bounce): 550 5.1.1",
        expected=R.SUPPRESSED_ADDRESS,
        events=[
            (
                S.SUPPRESSED,
                "the address is suppressed since 2026-03-01 (bounce): 550 5.1.1",
                None,
                R.SUPPRESSED_ADDRESS,
                None,
            )
        ],
    ),
    OldEmail(
        id="limited",
        state=S.SUPPRESSED,
        error="over the limit of 3 resets per hour to one address (MAILCTL_LIMIT_PER_RECIPIENT)",
        expected=R.OVER_LIMIT,
    ),
    OldEmail(id="staging", state=S.SUPPRESSED, error="x may not be mailed here", expected=R.NOT_ALLOWED),
    OldEmail(id="captured", state=S.CAPTURED, error=None, expected=None, smtp_text="/home/mail/x.eml"),
    OldEmail(id="sent", state=S.SENT, error=None, expected=None, smtp_text="queued as 7"),
    OldEmail(
        id="canary",
        state=S.FAILED,
        error="connect: refused",
        expected=R.CANARY_FAILED,
        smtp_text='[{"name": "connect"}]',
        kind="canary",
    ),
]
