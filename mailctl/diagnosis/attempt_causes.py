"""The cause of a failed attempt, from its reason code, its SMTP stage and the reply of the mail server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.diagnosis.models import Cause, Certainty
from mailctl.diagnosis.our_faults import find_our_fault
from mailctl.domain.outcomes import OPEN_CATEGORIES, ReplyCategory
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.shell_command import mailctl_command
from mailctl.smtp.classify import is_rate_limit, is_server_stage, reply_category

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailctl.domain.outcomes import SmtpReply

RATE_LIMITED = "rate_limited"


@dataclass(frozen=True)
class _Explanation:
    """The sentence and the next step of a cause; each call makes its command, with its own options."""

    sentence: str
    #: The words of the command of the next step; none if there is none.
    next_step: tuple[str, ...] = ()
    certainty: Certainty = Certainty.CERTAIN


_CHECK_CONFIG = ("check-config",)
_EXPLANATIONS: Mapping[str, _Explanation] = {
    "interrupted": _Explanation("it was interrupted before the mail server had the message", _CHECK_CONFIG),
    "no_reply": _Explanation(
        "the mail server received the message but did not reply, so it may have accepted it",
        certainty=Certainty.LIKELY,
    ),
    RATE_LIMITED: _Explanation("the mail server is throttling us (rate limit, reputation or greylisting)"),
    "sender_refused": _Explanation(
        "the mail server does not allow EMAIL_FROM_ADDRESS as the sender", _CHECK_CONFIG
    ),
    # Workers use a corrected setting only after a restart; until then, `check-config` finds nothing wrong.
    "our_settings": _Explanation(
        "the content, or the settings that the worker read when it started, cannot be used", _CHECK_CONFIG
    ),
    "session_failed": _Explanation("the session with the mail server failed", certainty=Certainty.LIKELY),
    "mail_server_later": _Explanation("the mail server asked to try again later", certainty=Certainty.LIKELY),
    "refused_for_all": _Explanation(
        "the mail server refuses every email, whoever it is for, so the fault may be ours",
        _CHECK_CONFIG,
        Certainty.LIKELY,
    ),
    "smtp_auth": _Explanation("signing in to the mail server fails", _CHECK_CONFIG),
    "smtp_tls": _Explanation(
        "TLS with the mail server fails (EMAIL_TLS, EMAIL_CA_FILE or its certificate)", _CHECK_CONFIG
    ),
    "mail_server_down": _Explanation("the mail server is not available", _CHECK_CONFIG),
}
#: The cause of an attempt that ended without a reply, by its reason code.
_WITHOUT_REPLY = {ReasonCode.INTERRUPTED: "interrupted", ReasonCode.NO_REPLY: "no_reply"}
#: The cause of a failure that concerns the mail server as a whole, by its stage; others are an outage.
_BY_STAGE = {"auth": "smtp_auth", "tls": "smtp_tls"}


def cause_of_attempt(code: ReasonCode | None, *, stage: str | None, reply: SmtpReply) -> Cause:
    """Return why an attempt failed.

    Args:
        code: the reason code of the attempt.
        stage: the SMTP stage at which it failed; None if no mail server was contacted.
        reply: the reply of the mail server; without a code if none came.
    """
    if code in _WITHOUT_REPLY:
        return _cause(_WITHOUT_REPLY[code])
    category = reply_category(reply, stage=stage or "") if reply.code else None
    if code is ReasonCode.CONFIGURATION and (ours := find_our_fault(category)):
        return ours
    if stage in _BY_STAGE:
        return cause_of_server_failure(stage)
    if category is ReplyCategory.CONNECTIONS and (ours := find_our_fault(category)):
        return ours
    return _cause(_name_of_other_failure(code, stage=stage or "", reply=reply))


def asks_for_lower_rate(cause: Cause, *, stage: str | None, reply: SmtpReply) -> bool:
    """Whether a lower rate may help; greylisting ends by itself.

    Args:
        cause: the cause of the attempt.
        stage: the SMTP stage at which it failed; None if no mail server was contacted.
        reply: the reply of the mail server.
    """
    return (
        cause.name == RATE_LIMITED
        and reply_category(reply, stage=stage or "") is not ReplyCategory.GREYLISTING
    )


def _name_of_other_failure(code: ReasonCode | None, *, stage: str, reply: SmtpReply) -> str:
    """Return the name of a cause that neither the stage nor the category of the reply says alone."""
    if is_rate_limit(reply, stage=stage):
        return RATE_LIMITED
    if stage == "connect":
        return "mail_server_down"
    if not stage:
        return "our_settings"
    if code is ReasonCode.CONFIGURATION:
        return "sender_refused"
    return "session_failed" if reply.code is None else "mail_server_later"


def cause_of_server_failure(stage: str | None, *, category: ReplyCategory | None = None) -> Cause:
    """Return why the mail server cannot be used at all.

    Args:
        stage: the SMTP stage at which it failed; None if no mail server was contacted.
        category: what its reply was about; None if there was none.
    """
    if ours := find_our_fault(category):
        return ours
    if category in OPEN_CATEGORIES and not is_server_stage(stage or ""):
        return _cause("refused_for_all")
    return _cause(_BY_STAGE.get(stage or "", "mail_server_down"))


def _cause(name: str) -> Cause:
    explained = _EXPLANATIONS[name]
    return Cause(
        name=name,
        sentence=explained.sentence,
        next_step=mailctl_command(*explained.next_step) if explained.next_step else None,
        certainty=explained.certainty,
    )
