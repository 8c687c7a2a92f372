"""Failures and deferrals in groups: what failed in the same way, how often, and the command to run."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from mailctl.delivery_log.queries.failed_attempts import find_failed_attempts
from mailctl.diagnosis.attempt_causes import asks_for_lower_rate
from mailctl.diagnosis.attempts import slow_down_command
from mailctl.diagnosis.failures import cause_of_failure
from mailctl.domain.fingerprints import join_domains, make_fingerprint
from mailctl.domain.shell_command import mailctl_command
from mailctl.domain.states import UNFINISHED_STATES, State
from mailctl.security.address_masking import mask_addresses_in_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from mailctl.delivery_log.queries.failed_attempts import FailedAttempt
    from mailctl.diagnosis.models import Cause
    from mailctl.domain.fingerprints import Fingerprint
    from mailctl.domain.outcomes import SmtpReply
    from mailctl.domain.shell_command import ShellCommand
    from mailctl.runtime import Runtime

#: The share of the period, at its end, whose rate is compared with that of the rest.
_RECENT_SHARE = 0.25
#: How many times as many per minute make a rise.
_RISE = 2.0
_MAX_SAMPLES = 3
#: Causes that no retry removes: what is wrong with the recipient or the message has to be looked at.
_NOT_TO_RETRY = frozenset({"recipient_refused", "message_refused", "bounced"})
_UNSENT_STATES = frozenset({State.FAILED, State.EXPIRED, State.BOUNCED})


class ErrorTrend(StrEnum):
    """How the last quarter of a period compares with the rest."""

    NEW = "new"  #: all occurrences are in the last quarter
    RISING = "rising"  #: at least twice as many per minute as before
    STEADY = "steady"
    FALLING = "falling"  #: at most half as many per minute as before
    OVER = "over"  #: none in the last quarter


@dataclass(frozen=True, kw_only=True)
class ErrorGroup:
    """Failures and deferrals that have the same fingerprint."""

    fingerprint: Fingerprint
    #: Why these attempts failed.
    cause: Cause
    #: The text of the latest one, with addresses masked.
    text: str
    #: The last reply; its code is None if no mail server replied.
    reply: SmtpReply
    #: How many attempts failed, and how many different emails had one.
    attempts: int
    emails: int
    #: How many of these emails have not been sent yet, and how many never will be unless somebody acts; one
    #: that has failed in another way since counts there.
    waiting: int
    failed: int
    first_at: datetime
    last_at: datetime
    trend: ErrorTrend
    #: The kinds of these emails, the most frequent first.
    kinds: tuple[str, ...]
    #: The ids of some of these emails, the latest first.
    sample_ids: tuple[str, ...]
    #: The command that deals with all of them.
    command: ShellCommand
    #: Whether nothing has to be done: they wait for their next attempt, and the command only shows them.
    is_tried_again: bool

    @property
    def is_rising(self) -> bool:
        """Whether it has begun or has become more frequent in the last quarter of the period."""
        return self.trend in (ErrorTrend.NEW, ErrorTrend.RISING)


def find_errors(runtime: Runtime, *, since: datetime, campaign: str | None = None) -> list[ErrorGroup]:
    """Return the failures and deferrals since a time in groups, the most frequent first.

    Args:
        runtime: the components of this process.
        since: the earliest time, aware.
        campaign: only emails of this campaign; None for all.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    attempts = find_failed_attempts(runtime.engine, since=since, campaign=campaign)
    return group_errors(attempts, since=since, now=runtime.clock(), campaign=campaign)


def group_errors(
    newest_first: Sequence[FailedAttempt], *, since: datetime, now: datetime, campaign: str | None = None
) -> list[ErrorGroup]:
    """Return attempts in groups, the most frequent first.

    Args:
        newest_first: the failed attempts, the latest first.
        since: the beginning of the period.
        now: its end.
        campaign: the campaign to which the commands are limited; None for none.
    """
    prints = [_fingerprint(each) for each in newest_first]
    joined = join_domains(prints)
    groups: defaultdict[Fingerprint, list[FailedAttempt]] = defaultdict(list)
    for attempt, fingerprint in zip(newest_first, prints, strict=True):
        groups[joined[fingerprint]].append(attempt)
    # An email waits, or has failed, because of its last failure alone.
    last = {each.email_id: each for each in reversed(newest_first)}
    found = [
        _group(fingerprint, each, last=last, since=since, now=now, campaign=campaign)
        for fingerprint, each in groups.items()
    ]
    return sorted(found, key=lambda group: (-group.emails, -group.attempts, group.text))


def find_trend(times: Iterable[datetime], *, since: datetime, now: datetime) -> ErrorTrend:
    """Return how the last quarter of a period compares with the rest.

    Args:
        times: when it occurred, within the period.
        since: the beginning of the period.
        now: its end.
    """
    border = now - (now - since) * _RECENT_SHARE
    is_recent = Counter(at >= border for at in times)
    recent, before = is_recent[True], is_recent[False]
    if not recent or not before:
        return ErrorTrend.NEW if recent else ErrorTrend.OVER
    ratio = (recent / _RECENT_SHARE) / (before / (1 - _RECENT_SHARE))
    if ratio >= _RISE:
        return ErrorTrend.RISING
    return ErrorTrend.FALLING if ratio <= 1 / _RISE else ErrorTrend.STEADY


def _fingerprint(attempt: FailedAttempt) -> Fingerprint:
    reply = attempt.reply
    return make_fingerprint(
        reason_code=attempt.reason_code,
        stage=attempt.stage,
        code=reply.code,
        enhanced=reply.enhanced,
        recipient=attempt.recipient,
        text=reply.text or attempt.text,
    )


def _group(
    fingerprint: Fingerprint,
    newest_first: Sequence[FailedAttempt],
    *,
    last: Mapping[str, FailedAttempt],
    since: datetime,
    now: datetime,
    campaign: str | None,
) -> ErrorGroup:
    newest, ids = newest_first[0], list(dict.fromkeys(each.email_id for each in newest_first))
    states = [each.state_now for each in newest_first if last[each.email_id] is each]
    cause = cause_of_failure(newest.state, newest.reason_code, stage=newest.stage, reply=newest.reply)
    failed = sum(state in _UNSENT_STATES for state in states)
    waiting = sum(state in UNFINISHED_STATES for state in states)
    needed = _needed_command(newest_first, cause)
    return ErrorGroup(
        fingerprint=fingerprint,
        cause=cause,
        text=mask_addresses_in_text(_words(newest)),
        reply=newest.reply,
        attempts=len(newest_first),
        emails=len(ids),
        waiting=waiting,
        failed=failed,
        first_at=newest_first[-1].at,
        last_at=newest.at,
        trend=find_trend((each.at for each in newest_first), since=since, now=now),
        kinds=tuple(kind for kind, _ in Counter(each.kind for each in newest_first).most_common()),
        sample_ids=tuple(ids[:_MAX_SAMPLES]),
        command=needed
        or _command(newest_first, cause, states, has_failed=bool(failed), now=now, campaign=campaign),
        is_tried_again=needed is None and waiting > 0 and not failed,
    )


def _words(attempt: FailedAttempt) -> str:
    """Return what was said; the words of an event have the code of the reply already."""
    reply = attempt.reply
    return attempt.text if reply.text == attempt.text else str(reply) or attempt.text


def _needed_command(newest_first: Sequence[FailedAttempt], cause: Cause) -> ShellCommand | None:
    """Return the command that the cause of a group needs; None if it needs none."""
    last = newest_first[0]
    is_one_campaign = len({each.campaign for each in newest_first}) == 1
    if (
        is_one_campaign
        and last.campaign is not None
        and asks_for_lower_rate(cause, stage=last.stage, reply=last.reply)
    ):
        return slow_down_command(last.campaign)
    return cause.next_step


def _command(
    newest_first: Sequence[FailedAttempt],
    cause: Cause,
    states: Sequence[State],
    *,
    has_failed: bool,
    now: datetime,
    campaign: str | None,
) -> ShellCommand:
    """Return the command that the emails of a group need, whose cause needs none."""
    last, age = newest_first[0], now - newest_first[-1].at
    state = next(
        (each for each in states if each in (_UNSENT_STATES if has_failed else (State.DEFERRED,))), None
    )
    if state is None:  # all of them were sent or tried again since, and have no error any more
        ids = list(dict.fromkeys(each.email_id for each in newest_first))
        return mailctl_command("list", arguments=ids[:_MAX_SAMPLES])
    reply = f"{last.reply.code} {last.reply.enhanced or ''}".strip() if last.reply.code else None
    command = "retry" if has_failed and cause.name not in _NOT_TO_RETRY else "list"
    return mailctl_command(command, state=state, error=reply, campaign=campaign, since=_since(age))


def _since(age: timedelta) -> str:
    """Return an age for --since that includes an email recorded some time before its failure."""
    return f"{int(age / timedelta(hours=1)) + 24}h"
