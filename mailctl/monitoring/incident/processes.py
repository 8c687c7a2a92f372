"""Detectors of workers: none for a queue, dead, stopped or stalled ones, and ones that differ."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.celery_app import consumed_queues
from mailctl.checks.agreement import AgreementSubject, find_disagreements
from mailctl.checks.finding import as_sentence
from mailctl.checks.other_delivery_logs import compare_other_workers
from mailctl.checks.processes import KEYS_FIX, describe_unreadable
from mailctl.checks.silent_workers import describe_silence
from mailctl.delivery_log.pool_processes import count_replaced_processes
from mailctl.delivery_log.queries.stalls import find_stalled_workers, find_unpublished
from mailctl.delivery_log.write_probe import sample_readability
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.shell_command import mailctl_command, start_worker_fix
from mailctl.domain.states import State
from mailctl.monitoring.incident.models import IncidentProblem, ProblemSubject
from mailctl.timefmt import TimeStyle, format_time, pluralize

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.checks.agreement import Disagreement
    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.delivery_log.queries.unfinished import UnfinishedEmails
    from mailctl.monitoring.incident.evidence import LogFacts

_CAPTURE_FIX = "Set EMAIL_ENABLED=True for these workers, restart them, and send the emails again."
#: How long an email may wait to be published; a service does that at once.
_UNPUBLISHED_AFTER = timedelta(seconds=30)
#: The name and the subject of the problem for each subject on which processes disagree.
_DIFFERENCES = {
    AgreementSubject.KEYS: ("wrong_key", ProblemSubject.KEYS),
    AgreementSubject.CLOCKS: ("clock_skew", ProblemSubject.CLOCKS),
    AgreementSubject.LOG: ("other_log", ProblemSubject.SETTINGS),
    AgreementSubject.MAIL_SERVER: ("mail_servers_differ", ProblemSubject.DIFFERENCES),
    AgreementSubject.VERSION: ("versions_differ", ProblemSubject.DIFFERENCES),
    AgreementSubject.SETTINGS: ("settings_differ", ProblemSubject.DIFFERENCES),
    AgreementSubject.TEMPLATES: ("templates_differ", ProblemSubject.DIFFERENCES),
}


def find_worker_problems(facts: LogFacts) -> Iterator[IncidentProblem]:
    """Yield the problems of the workers that share the log."""
    yield from _other_logs(facts)
    yield from _unconsumed_queues(facts)
    yield from _suspended(facts)
    yield from _dead(facts)
    yield from _dead_processes(facts)
    yield from _overdue(facts)
    if facts.workers:
        if not facts.other_logs:  # workers with another log take the messages
            yield from _stalled(facts)
        yield from _unpublished(facts)
        yield from _captures(facts)
        yield from _disagreements(facts)


def _unconsumed_queues(facts: LogFacts) -> Iterator[IncidentProblem]:
    ready = {queue: count for queue, count in facts.ready_by_queue.items() if queue not in facts.consumed}
    alive = sorted({*(worker.name for worker in facts.workers), *facts.other_consumers})
    if not alive:
        yield _no_worker(facts, held_up=sum(ready.values()))
        return
    before = facts.now - _UNPUBLISHED_AFTER
    unpublished = facts.count(
        lambda group: group.state is State.PENDING and facts.is_ready(group) and group.changed_at < before
    )
    if not facts.workers and unpublished:
        others = ", ".join(alive)
        yield IncidentProblem(
            subject=ProblemSubject.WORKERS,
            name="no_worker",
            sentence=f"No worker that shares this delivery log is alive to publish its emails; {others}"
            f" {'has' if len(alive) == 1 else 'have'} another log or none",
            fix=f"Start one: {mailctl_command('worker')}",
            held_up=unpublished,
        )
    for queue, count in ready.items():
        consumed = "; ".join(f"{name} consumes {', '.join(queues)}" for name, queues in _consumers(facts))
        yield IncidentProblem(
            subject=ProblemSubject.WORKERS,
            name="wrong_queue",
            sentence=f"No worker consumes queue {queue!r}: {consumed}",
            fix=start_worker_fix(queue, default_queues=consumed_queues(facts.runtime.app)),
            held_up=count,
        )


def _other_logs(facts: LogFacts) -> Iterator[IncidentProblem]:
    """Yield a problem for workers that take emails of this log and have another log or key."""
    queues = {worker.name: worker.queues for worker in facts.other_logs}
    for each in _differences_of_others(facts):
        taken = {queue for name in each.workers for queue in queues[name]}
        held_up = sum(facts.ready_by_queue.get(queue, 0) for queue in taken)
        yield replace(_problem_of(facts, each), held_up=held_up if each.is_failure else 0)


def _differences_of_others(facts: LogFacts) -> list[Disagreement]:
    """Return how workers with another log differ from this process."""
    runtime = facts.runtime
    return list(
        compare_other_workers(
            facts.other_logs, runtime.settings, keys=runtime.identity.keys, own_queues=facts.own_queues
        )
    )


def _consumers(facts: LogFacts) -> list[tuple[str, tuple[str, ...]]]:
    own = {worker.name: worker.queues for worker in facts.workers}
    return sorted((facts.other_consumers | own).items())


def _no_worker(facts: LogFacts, *, held_up: int) -> IncidentProblem:
    silent = [each for each in facts.silent if each not in facts.suspended]
    last = max(silent, key=lambda worker: worker.seen_at, default=None)
    seen = f"; {_describe_silence(facts, last)}" if last else ""
    return IncidentProblem(
        subject=ProblemSubject.WORKERS,
        name="no_worker",
        sentence=f"No worker is alive{seen}",
        fix=f"Start one: {mailctl_command('worker')}",
        held_up=held_up,
    )


def _suspended(facts: LogFacts) -> Iterator[IncidentProblem]:
    for worker in facts.suspended:
        yield IncidentProblem(
            subject=ProblemSubject.WORKERS,
            name="worker_suspended",
            sentence=f"Worker {worker.name} does nothing: its process {worker.pid} is stopped by a signal",
            fix=f"Resume it: kill -CONT {worker.pid}",
            held_up=_sending(facts, worker.name),
        )


def _dead(facts: LogFacts) -> Iterator[IncidentProblem]:
    """Yield a problem for each worker that has died, with the emails whose lease it still has."""
    alive = {worker.name: worker for worker in facts.workers}
    orphans = [
        group
        for group in facts.unfinished
        if group.state is State.SENDING and group.worker and not group.may_be_held_by(alive.get(group.worker))
    ]
    dead = {group.worker or "" for group in orphans}
    silent = {worker.name for worker in facts.silent}
    for name in sorted(dead):
        mine = [group for group in orphans if group.worker == name]
        has_expired = any(group.lease_until is None or group.lease_until < facts.now for group in mine)
        if name not in silent and not has_expired:
            yield _stopping(facts, name, mine)
            continue
        yield IncidentProblem(
            subject=ProblemSubject.WORKERS,
            name="lease_of_dead_worker",
            sentence=f"Worker {name}{_process(facts, name)} died while sending; {_takeover(facts, mine)}",
            fix=f"Find out why it died: the log of the worker, and `journalctl -k` for the OOM killer; "
            f"show the workers: {mailctl_command('workers')}",
            held_up=sum(group.count for group in mine),
        )
    for worker in facts.silent:
        if facts.workers and worker not in facts.suspended and worker.name not in dead:
            yield IncidentProblem(
                subject=ProblemSubject.WORKERS,
                name="worker_silent",
                sentence=as_sentence(_describe_silence(facts, worker)).rstrip("."),
                fix="If it should run, look for its process and its log; if it was killed, start it again.",
                held_up=0,
            )


def _stopping(facts: LogFacts, name: str, groups: list[UnfinishedEmails]) -> IncidentProblem:
    """Return the note that a worker has signed off, and finishes what it is sending unless it has died."""
    return IncidentProblem(
        subject=ProblemSubject.WORKERS,
        name="worker_stopping",
        sentence=f"Worker {name} is stopping and still sends these emails, or has died since;"
        f" {_takeover(facts, groups)}",
        held_up=sum(group.count for group in groups),
        is_failure=False,
    )


def _process(facts: LogFacts, name: str) -> str:
    """Return the process of a worker that has not signed off, in brackets; "" if none is known."""
    found = max(
        (each for each in facts.silent if each.name == name), key=lambda each: each.seen_at, default=None
    )
    return f" (process {found.pid} on host {found.host})" if found else ""


def _takeover(facts: LogFacts, groups: list[UnfinishedEmails]) -> str:
    ends = [group.lease_until for group in groups if group.lease_until is not None]
    if not ends:
        return "a relay will release its emails"
    if max(ends) < facts.now:
        return "the leases of its emails have expired, and a relay releases them"
    until = format_time(max(ends), TimeStyle.CLOCK)
    return f"other workers take over its emails when their leases expire, at {until}"


def _dead_processes(facts: LogFacts) -> Iterator[IncidentProblem]:
    """Yield the problem that processes of a pool died while they were sending."""
    alive = {worker.name: worker for worker in facts.workers}
    groups = [
        group
        for group in facts.unfinished
        if group.reason_code is ReasonCode.PROCESS_DIED
        or _has_dead_process(alive.get(group.worker or ""), group)
    ]
    if groups:
        whose = " and ".join(sorted({group.worker for group in groups if group.worker})) or "a worker"
        yield IncidentProblem(
            subject=ProblemSubject.WORKERS,
            name="process_died",
            sentence=f"A process of the pool of {whose} died while it was sending",
            fix="Find out why: `journalctl -k` names processes that were killed because memory ran out."
            " Other processes send these emails again",
            held_up=sum(group.count for group in groups),
        )


def _has_dead_process(worker: Worker | None, group: UnfinishedEmails) -> bool:
    """Whether a process of the live worker that is sending emails has died since it claimed them."""
    if group.state is not State.SENDING or worker is None or not group.may_be_held_by(worker):
        return False
    return bool(count_replaced_processes(worker, since=group.changed_at))


def _overdue(facts: LogFacts) -> Iterator[IncidentProblem]:
    """Yield a problem for live workers whose leases have expired."""
    alive = {worker.name: worker for worker in facts.workers}
    for group in facts.unfinished:
        worker = alive.get(group.worker or "")
        if group.state is not State.SENDING or worker is None or not group.may_be_held_by(worker):
            continue
        has_expired = group.lease_until is not None and group.lease_until < facts.now
        if has_expired and not _has_dead_process(worker, group):
            yield IncidentProblem(
                subject=ProblemSubject.WORKERS,
                name="lease_expired",
                sentence=f"Worker {group.worker} is alive but has not finished sending in time",
                fix=f"Restart it, and read its log; list the workers: {mailctl_command('workers')}",
                held_up=group.count,
            )


def _stalled(facts: LogFacts) -> Iterator[IncidentProblem]:
    engine = facts.runtime.engine
    for stalled in find_stalled_workers(engine, facts.workers, now=facts.now):
        yield IncidentProblem(
            subject=ProblemSubject.WORKERS,
            name="worker_stalled",
            sentence=as_sentence(str(stalled)).rstrip("."),
            fix=f"Restart {stalled.worker}; its log may say what it waits for.",
            held_up=stalled.waiting,
        )


def _unpublished(facts: LogFacts) -> Iterator[IncidentProblem]:
    found = find_unpublished(facts.runtime.engine, facts.workers, now=facts.now)
    if found is not None:
        yield IncidentProblem(
            subject=ProblemSubject.BROKER,
            name="unpublishable",
            sentence=as_sentence(str(found)).rstrip("."),
            fix="Check the broker, and read the logs of the workers, whose relays publish.",
            held_up=found.count,
        )


def _captures(facts: LogFacts) -> Iterator[IncidentProblem]:
    """Yield a problem if workers capture emails that this process, or others, mean to be sent."""
    capturing = _capturing(facts)
    if capturing and (len(capturing) < len(facts.workers) or facts.runtime.settings.mail_server):
        names = ", ".join(capturing)
        yield IncidentProblem(
            subject=ProblemSubject.SETTINGS,
            name="captured",
            sentence=f"Emails are captured to files, not sent: EMAIL_ENABLED is False for {names}",
            fix=_CAPTURE_FIX,
            held_up=0,
        )


def _capturing(facts: LogFacts) -> list[str]:
    """Return the names of the workers that write emails to files."""
    known = ((worker.name, worker.identity) for worker in facts.workers)
    return [name for name, identity in known if identity is not None and not identity.mail_server]


def _disagreements(facts: LogFacts) -> Iterator[IncidentProblem]:
    own_skew = facts.runtime.clock_skew_seconds
    capturing = set(_capturing(facts))
    found = find_disagreements(facts.workers, facts.runtime.identity, own_skew_seconds=own_skew)
    if not any(each.subject is AgreementSubject.KEYS for each in (*found, *_differences_of_others(facts))):
        yield from _unreadable(facts)
    for each in found:
        is_capture = each.subject is AgreementSubject.MAIL_SERVER and capturing.issuperset(each.workers)
        if not is_capture:  # `_captures` says so
            yield _problem_of(facts, each)


def _unreadable(facts: LogFacts) -> Iterator[IncidentProblem]:
    """Yield a problem for emails that no worker could decrypt, although all processes have the same key."""
    if count := _count_unreadable(facts):
        were, it_was = ("was", "it was") if count == 1 else ("were", "they were")
        yield IncidentProblem(
            subject=ProblemSubject.KEYS,
            name="wrong_key",
            sentence=f"{pluralize(count, 'email')} {were} not decrypted when a worker tried:"
            f" {it_was} encrypted with another SECRET_KEY",
            fix=f"{KEYS_FIX} To see whether all can be decrypted now: {mailctl_command('check-config')}",
            held_up=count,
        )


def find_undecryptable(facts: LogFacts) -> Iterator[IncidentProblem]:
    """Yield a problem for emails that wait and that this process cannot decrypt; it decrypts some of them."""
    sample = sample_readability(facts.runtime.engine, facts.runtime.keyring)
    if sample.unreadable:
        yield IncidentProblem(
            subject=ProblemSubject.KEYS,
            name="wrong_key",
            sentence=describe_unreadable(sample),
            fix=f"{KEYS_FIX} Then look again: {mailctl_command('check-config')}",
            held_up=sample.unreadable,
        )


def _count_unreadable(facts: LogFacts) -> int:
    return facts.count(lambda group: group.reason_code is ReasonCode.UNREADABLE_CONTENT)


def _problem_of(facts: LogFacts, difference: Disagreement) -> IncidentProblem:
    name, subject = _DIFFERENCES[difference.subject]
    return IncidentProblem(
        subject=subject,
        name=name,
        sentence=as_sentence(difference.detail).rstrip("."),
        fix=difference.fix,
        held_up=_count_unreadable(facts) if difference.subject is AgreementSubject.KEYS else 0,
        is_failure=difference.is_failure,
    )


def _sending(facts: LogFacts, worker: str) -> int:
    return facts.count(lambda group: group.worker == worker)


def _describe_silence(facts: LogFacts, worker: Worker) -> str:
    held = _sending(facts, worker.name)
    holds = f"; it was sending {pluralize(held, 'email')}" if held else ""
    return f"{describe_silence(worker, now=facts.now, is_suspended=False)}{holds}"
