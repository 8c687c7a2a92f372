"""Detectors of what keeps emails from being sent although workers take them: servers, pauses, errors."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.diagnosis.attempt_causes import cause_of_server_failure
from mailctl.diagnosis.wording import NO_REPLY_YET
from mailctl.domain.outcomes import ReplyCategory
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.shell_command import mailctl_command
from mailctl.domain.states import State
from mailctl.monitoring.incident.models import IncidentProblem, ProblemSubject
from mailctl.settings import BULK_QUEUE
from mailctl.smtp.classify import is_server_stage, reply_category
from mailctl.timefmt import (
    TimeStyle,
    format_campaign_rate,
    format_duration,
    format_rate,
    format_share,
    format_time,
    pluralize,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.delivery_log.circuits import Circuit
    from mailctl.domain.outcomes import SmtpReply
    from mailctl.domain.shell_command import ShellCommand
    from mailctl.monitoring.errors import ErrorGroup
    from mailctl.monitoring.incident.evidence import LogFacts

#: How many emails may fail by faults of their recipients before that is more than everyday life.
MANY_REFUSED = 10
#: Faults of single recipients, and the usual first reply of a server that greylists.
_EVERYDAY = frozenset({ReplyCategory.DEAD_MAILBOX, ReplyCategory.RECIPIENT, ReplyCategory.GREYLISTING})
#: Emails with these reasons wait because a mail server, or our account there, does not work.
_SERVER_REASONS = frozenset({ReasonCode.MAIL_SERVER_DOWN, ReasonCode.CONFIGURATION})
#: How long sending may take, and how long an email may wait, until that is told.
_SLOW_AFTER, _OLD_AFTER = timedelta(minutes=1), timedelta(minutes=5)
#: Causes of errors that other detectors report.
_REPORTED_ELSEWHERE = frozenset({"wrong_key"})


def find_sending_problems(facts: LogFacts) -> Iterator[IncidentProblem]:
    """Yield what keeps emails from being sent although workers take them."""
    for circuit in facts.circuits:
        yield _mail_server(facts, circuit)
    yield from _unanswered(facts)
    yield from _paused(facts)
    yield from _campaigns(facts)
    for group in facts.errors:
        if not _is_explained(facts, group):
            yield _error(group)
    yield from _scheduled(facts)


def _mail_server(facts: LogFacts, circuit: Circuit) -> IncidentProblem:
    cause = cause_of_server_failure(circuit.stage, category=circuit.category)
    attempts = "the last attempt" if circuit.failures == 1 else f"the last {circuit.failures} attempts"
    users = [
        worker.name
        for worker in facts.workers
        if worker.identity is not None and circuit.server in worker.identity.servers
    ]
    whose = f" (the server of {', '.join(users)})" if 0 < len(users) < len(facts.workers) else ""
    found, probe = f"{attempts} at {circuit.server} failed: {circuit.reason}", ""
    if circuit.is_open:
        found = circuit.describe(circuit.server)
        at = format_time(circuit.probe_at, TimeStyle.SENTENCE_CLOCK)
        probe = f"; the next probe is {f'at {at}' if circuit.probe_at > facts.now else 'due'}"
    sentence = f"{cause.sentence}: {found}{whose}"
    return IncidentProblem(
        subject=ProblemSubject.MAIL_SERVER,
        name=cause.name,
        sentence=f"{sentence[:1].upper()}{sentence[1:]}",
        fix=f"Sending resumes once the server works{probe}. After you change a setting, restart the workers."
        f" On the worker's host, run: {mailctl_command('check-config')}",
        held_up=_waiting_for_server(facts),
    )


def _unanswered(facts: LogFacts) -> Iterator[IncidentProblem]:
    """Yield a problem for emails that a living worker has been sending for minutes."""
    alive = {worker.name: worker for worker in facts.workers}
    held = [
        group
        for group in facts.unfinished
        if group.state is State.SENDING and group.may_be_held_by(alive.get(group.worker or ""))
    ]
    slow = [
        group
        for group in held
        if group.changed_at < facts.now - _SLOW_AFTER
        and (group.lease_until is None or group.lease_until > facts.now)
    ]
    if not slow:
        return
    count, names = sum(group.count for group in slow), sorted({group.worker or "" for group in slow})
    longest = facts.now - min(group.changed_at for group in slow)
    yield IncidentProblem(
        subject=ProblemSubject.MAIL_SERVER,
        name="mail_server_slow",
        sentence=f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} sending"
        f" {pluralize(count, 'email')}, the first for {format_duration(longest)}: {NO_REPLY_YET}",
        fix=f"See to which domains: {mailctl_command('list', state=State.SENDING)}",
        held_up=count,
        is_failure=count >= MANY_REFUSED,
    )


def find_backlog(facts: LogFacts) -> Iterator[IncidentProblem]:
    """Yield what has waited for long although workers take it and nothing else explains that."""
    for queue in sorted(facts.own_queues - {BULK_QUEUE}):
        waiting = [group for group in facts.unfinished if group.queue == queue and facts.is_ready(group)]
        since = min((group.changed_at for group in waiting), default=facts.now)
        if since >= facts.now - _OLD_AFTER:
            continue
        count = sum(group.count for group in waiting)
        yield IncidentProblem(
            subject=ProblemSubject.WORKERS,
            name="backlog",
            sentence=f"{pluralize(count, 'email')} in queue {queue!r} {'waits' if count == 1 else 'wait'} for"
            f" a worker, the first for {format_duration(facts.now - since)}",
            fix="If more comes in than goes out, start more workers, or use a higher -c. See the rates:"
            f" {mailctl_command('queue', 'list')}",
            held_up=count,
        )


def _waiting_for_server(facts: LogFacts) -> int:
    """Return how many emails wait for a mail server: put off, or deferred before the first command."""
    put_off = facts.count(lambda group: group.reason_code in _SERVER_REASONS)
    # An email may be in several groups of errors, and have been put off since.
    tried = facts.count(
        lambda group: group.state is State.DEFERRED and group.reason_code not in _SERVER_REASONS
    )
    deferred = sum(group.waiting for group in facts.errors if is_server_stage(group.fingerprint.stage))
    return put_off + min(tried, deferred)


def _paused(facts: LogFacts) -> Iterator[IncidentProblem]:
    for pause in facts.pauses:
        held_up = facts.count_covered(pause)
        sentence = str(pause)
        yield IncidentProblem(
            subject=ProblemSubject.PAUSE,
            name="paused",
            sentence=f"{sentence[:1].upper()}{sentence[1:]}",
            fix=f"To resume: {pause.resume_command}",
            held_up=held_up,
            # An operator wants it; what waits has to be known.
            is_failure=bool(held_up),
        )


def _campaigns(facts: LogFacts) -> Iterator[IncidentProblem]:
    for campaign in facts.recent.campaigns:
        if campaign.is_failing:
            may_be_paused = bool(campaign.waiting) and campaign.pause is None
            step = "pause" if may_be_paused else "show"
            command: ShellCommand = mailctl_command("campaign", step, arguments=[campaign.name])
            yield IncidentProblem(
                subject=ProblemSubject.CAMPAIGN,
                name="campaign_failing",
                sentence=f"{campaign.failed + campaign.bounced} of {pluralize(campaign.total, 'email')} of"
                f" campaign {campaign.name} failed or bounced"
                f" ({format_share(campaign.failed_share)} of those that ended)",
                fix=f"{'Pause it until the cause is known' if may_be_paused else 'See why'}: {command}",
                held_up=0,
            )
        elif campaign.is_behind:
            yield IncidentProblem(
                subject=ProblemSubject.CAMPAIGN,
                name="campaign_behind",
                sentence=f"Campaign {campaign.name} sends {format_rate(campaign.kept_rate)} emails a second"
                f" instead of {format_campaign_rate(campaign.rate)}",
                fix=f"Show it: {mailctl_command('campaign', 'show', arguments=[campaign.name])}",
                held_up=campaign.waiting,
                is_failure=False,
            )


def _is_explained(facts: LogFacts, group: ErrorGroup) -> bool:
    """Whether another detector has reported what causes a group of errors."""
    if group.cause.name in _REPORTED_ELSEWHERE:
        return True
    is_of_server = is_server_stage(group.fingerprint.stage)
    return bool(facts.circuits) and (
        is_of_server or group.fingerprint.reason_code is ReasonCode.CONFIGURATION
    )


def _error(group: ErrorGroup) -> IncidentProblem:
    is_doubtful = group.fingerprint.reason_code is ReasonCode.NO_REPLY
    return IncidentProblem(
        subject=ProblemSubject.COPIES if is_doubtful else ProblemSubject.ERRORS,
        name="possible_copies" if is_doubtful else group.cause.name,
        sentence=_settled_sentence(group) if _is_settled(group) else _error_sentence(group),
        fix=_fix(group, is_doubtful=is_doubtful),
        held_up=group.waiting,
        is_failure=_is_failure(group),
    )


def _error_sentence(group: ErrorGroup) -> str:
    cause = group.cause.sentence
    since = format_time(group.first_at, TimeStyle.SENTENCE_CLOCK)
    what = f"{_failed_emails(group)} since {since}; {group.trend}"
    return f"{cause[:1].upper()}{cause[1:]}: {group.text} ({what})"


def _settled_sentence(group: ErrorGroup) -> str:
    """Return a sentence in the past tense about errors that are over."""
    first, last = (format_time(at, TimeStyle.SENTENCE_CLOCK) for at in (group.first_at, group.last_at))
    period = f"at {last}" if first == last else f"between {first} and {last}"
    verb = "is" if group.emails == 1 else "are"
    return f"{_failed_emails(group)} {period} and {verb} no longer waiting: {group.text}"


def _failed_emails(group: ErrorGroup) -> str:
    stage, domain = group.fingerprint.stage, group.fingerprint.domain
    place = f" at {stage.upper()}" if stage else ""
    whose = f", all at {domain}," if domain and group.emails > 1 else ""
    return f"{pluralize(group.emails, 'email')}{whose} failed{place}"


def _fix(group: ErrorGroup, *, is_doubtful: bool) -> str:
    if is_doubtful:
        command: ShellCommand = mailctl_command("list", maybe_sent=True)
        return f"These may have arrived more than once; list them: {command}"
    if _is_settled(group):
        return ""
    if group.is_tried_again:
        who = "It is" if group.waiting == 1 else "They are"
        return f"{who} tried again without your help; see which: {group.command}"
    return f"Run: {group.command}"


def _is_settled(group: ErrorGroup) -> bool:
    """Whether what failed has been sent since, or does not have to be."""
    return not group.waiting and not group.failed


def _is_failure(group: ErrorGroup) -> bool:
    """Whether a group of errors needs fixing; refusals of single recipients are normal."""
    if _is_settled(group):
        return False
    is_single = group.cause.name == "bounced" or is_everyday(_reply_of(group), stage=group.fingerprint.stage)
    return group.emails >= MANY_REFUSED or not is_single


def is_everyday(reply: SmtpReply | None, *, stage: str) -> bool:
    """Whether a reply is a fault of one recipient, or the first reply of a server that greylists."""
    return reply is not None and reply_category(reply, stage=stage) in _EVERYDAY


def _reply_of(group: ErrorGroup) -> SmtpReply | None:
    return group.reply if group.reply.code else None


def _scheduled(facts: LogFacts) -> Iterator[IncidentProblem]:
    later = [group for group in facts.unfinished if group.is_scheduled]
    times = [group.not_before for group in later if group.not_before is not None]
    if not times:
        return
    count = sum(group.count for group in later)
    yield IncidentProblem(
        subject=ProblemSubject.SCHEDULE,
        name="scheduled",
        sentence=f"{pluralize(count, 'email')} {'is' if count == 1 else 'are'} scheduled for later,"
        f" the first for {format_time(min(times), TimeStyle.SENTENCE)}",
        fix=f"List them: {mailctl_command('list', state=State.PENDING)}",
        held_up=0,
        is_failure=False,
    )
