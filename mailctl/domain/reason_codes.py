"""Reasons: why an email waits, why it ended, and what an operator did, as codes that programs compare."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ReasonCode(StrEnum):
    """Why an email changed or did not go out; the text beside a code is for people and is never compared.

    An email has the reason that keeps it from being delivered; an event has the reason for that one change.
    Ordinary progress (recorded, published, claimed, delivered) has none.
    """

    # It waits.
    MAIL_SERVER_DOWN = "mail_server_down"  #: the circuit to the mail server is open
    OVER_GLOBAL_LIMIT = "over_global_limit"  #: it waits for its turn under the limit for all emails
    PUBLISHING_FAILED = "publishing_failed"  #: a relay could not publish it, and tries again
    PAUSED = "paused"  #: an operator has paused its queue or kind
    NOT_STARTED = "not_started"  #: its batch ended, or was not published, before its turn came
    BROKER_LOST = "broker_lost"  #: the broker lost its message
    WORKER_LOST = "worker_lost"  #: the worker whose memory held its message is gone
    # An attempt failed.
    WORKER_DISAPPEARED = "worker_disappeared"  #: the lease of the worker that was sending it ran out
    DEFERRED = "deferred"  #: the mail server said "later", or could not be reached
    NO_REPLY = "no_reply"  #: the message was handed over, and no reply came
    CONFIGURATION = "configuration"  #: credentials, TLS, sender or files on this side are not usable
    UNREADABLE_CONTENT = "unreadable_content"  #: its content was sealed with a key that is not known here
    # It ended.
    REFUSED = "refused"  #: the mail server refused it for good
    OUT_OF_ATTEMPTS = "out_of_attempts"  #: each attempt failed, up to the last
    WOULD_EXPIRE = "would_expire"  #: it would lose its use before the next attempt
    EXPIRED = "expired"  #: it lost its use before it could go out
    NOT_COMPOSED = "not_composed"  #: its template, kind or values do not make a message
    INVALID_MESSAGE = "invalid_message"  #: another program's message that can never become an email
    UNPUBLISHABLE = "unpublishable"  #: it can never be published
    NOT_ALLOWED = "not_allowed"  #: this environment may not mail its recipient
    SUPPRESSED_ADDRESS = "suppressed_address"  #: nothing is sent to its address
    OVER_LIMIT = "over_limit"  #: its address or user has had as many emails as the limits allow
    OWN_TASK_SUCCEEDED = "own_task_succeeded"  #: a task of the service itself reports that it was sent
    OWN_TASK_FAILED = "own_task_failed"  #: a task of the service itself reports a failure
    CANARY_FAILED = "canary_failed"  #: a step of a canary failed
    # An operator, or another program, acted.
    STOPPED = "stopped"  #: an operator held or cancelled it
    RETRIED = "retried"  #: an operator had it tried again
    RELEASED = "released"  #: an operator released it
    RESENT = "resent"  #: an operator made a new email of it
    RESEND = "resend"  #: an operator made it of an older email
    FORCED = "forced"  #: neither suppressions nor limits apply, as an operator said
    RECEIVED = "received"  #: it came as a message of another program
    # Recorded before reasons had codes, in words that the migration did not know.
    UNSPECIFIED = "unspecified"


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why an email is not delivered: a code for programs, and a sentence for people."""

    code: ReasonCode
    text: str
