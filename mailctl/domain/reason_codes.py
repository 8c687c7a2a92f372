"""Reason codes: why an email waits or ended, and what an operator did with it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ReasonCode(StrEnum):
    """The reason for a change of an email; programs compare the code, never the text beside it.

    An email has the reason that keeps it from being sent; an event has the reason for that one change.
    Ordinary progress (recorded, published, claimed, sent) has none.
    """

    # It waits.
    MAIL_SERVER_DOWN = "mail_server_down"  #: the circuit to the mail server is open
    REFUSED_FOR_ALL = "refused_for_all"  #: the mail server refused every recipient; it is tried once more
    OVER_GLOBAL_LIMIT = "over_global_limit"  #: the rate limit for all email is reached
    SEND_RATE = "send_rate"  #: a rate, or all sessions of its mail server, are used up for now
    PUBLISHING_FAILED = "publishing_failed"  #: a relay could not publish it, and will try again
    PAUSED = "paused"  #: an operator paused its queue or kind
    NOT_STARTED = "not_started"  #: its batch or its lease ended, or was not published, before it was sent
    BROKER_LOST = "broker_lost"  #: the broker lost its message
    WORKER_LOST = "worker_lost"  #: the worker that had its message in memory is gone
    # An attempt failed.
    WORKER_DISAPPEARED = "worker_disappeared"  #: the lease of the worker that was sending it expired
    PROCESS_DIED = "process_died"  #: a process of the worker's pool died while it was sending it
    INTERRUPTED = "interrupted"  #: a time limit ended the attempt before the mail server had the message
    NEXT_SERVER = "next_server"  #: a mail server does not work, so the next one of its route was tried
    DEFERRED = "deferred"  #: the mail server said "later", or could not be reached
    NO_REPLY = "no_reply"  #: the body was sent, and no reply came
    CONFIGURATION = "configuration"  #: credentials, TLS, the sender or files of this installation are wrong
    UNREADABLE_CONTENT = "unreadable_content"  #: its content is encrypted with an unknown key
    OWN_TASK_UNKNOWN = "own_task_unknown"  #: held: unknown whether a task without this log has sent it
    OTHER_WORKER = "other_worker"  #: published in full; a worker without this log may take it unseen
    # It ended.
    REFUSED = "refused"  #: the mail server refused it permanently
    OUT_OF_ATTEMPTS = "out_of_attempts"  #: the last allowed attempt failed
    WOULD_EXPIRE = "would_expire"  #: it would expire before the next attempt
    EXPIRED = "expired"  #: it expired before it could be sent
    NOT_COMPOSED = "not_composed"  #: no message can be composed from its template, kind and values
    INVALID_MESSAGE = "invalid_message"  #: another program's message was invalid
    UNPUBLISHABLE = "unpublishable"  #: it can never be published
    NOT_ALLOWED = "not_allowed"  #: the recipient policy of this environment forbids its recipient
    SUPPRESSED_ADDRESS = "suppressed_address"  #: its address is suppressed
    UNSUBSCRIBED = "unsubscribed"  #: its recipient wants no more emails of its kind
    OVER_LIMIT = "over_limit"  #: a rate limit of its address or user is reached
    OWN_TASK_SUCCEEDED = "own_task_succeeded"  #: the service's own task proves that it was sent or captured
    OWN_TASK_UNCONFIRMED = "own_task_unconfirmed"  #: the service's own task finished without saying
    OWN_TASK_FAILED = "own_task_failed"  #: the service's own task reports a failure
    CANARY_FAILED = "canary_failed"  #: a step of a canary failed
    # Feedback came after a mail server had accepted it.
    DELIVERY_REPORTED = "delivery_reported"  #: the recipient's mail server has it
    DELAY_REPORTED = "delay_reported"  #: not delivered yet; the mail server that has it keeps trying
    RELAY_REPORTED = "relay_reported"  #: passed on to a server that reports only failures
    BOUNCE_REPORTED = "bounce_reported"  #: given up, and not tried again
    COMPLAINT_REPORTED = "complaint_reported"  #: its recipient marked it as spam
    UNSUBSCRIBE_REPORTED = "unsubscribe_reported"  #: its recipient wants no more of these
    REPORT_NOTED = "report_noted"  #: a report that changed nothing: unproven, or superseded by another
    # An operator, or another program, acted.
    STOPPED = "stopped"  #: an operator held or cancelled it
    RETRIED = "retried"  #: an operator retried it
    RELEASED = "released"  #: an operator released it
    RESENT = "resent"  #: an operator resent it as a new email
    RESEND = "resend"  #: an operator created it by resending another email
    FORCED = "forced"  #: an operator overrode suppression and rate limits
    RECEIVED = "received"  #: it came as a message of another program
    # Recorded before there were reason codes, with a text that the migration did not recognise.
    UNSPECIFIED = "unspecified"


#: Reasons of events that repeat the state of an email and do not mark a change of it.
NOTE_CODES = frozenset(
    {
        ReasonCode.DELAY_REPORTED,
        ReasonCode.RELAY_REPORTED,
        ReasonCode.UNSUBSCRIBE_REPORTED,
        ReasonCode.REPORT_NOTED,
        ReasonCode.RESENT,
    }
)


@dataclass(frozen=True, kw_only=True)
class Reason:
    """A reason why an email is not sent: its code, and its text for operators."""

    code: ReasonCode
    text: str
