"""Checks of the processes that share a delivery log: whether they agree, and whether emails get on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.checks.agreement import AgreementSubject, find_disagreements
from mailctl.checks.finding import CheckGroup, Finding, as_sentence
from mailctl.checks.silent_workers import describe_silence
from mailctl.delivery_log.heartbeats import WorkerRegistry, is_suspended
from mailctl.delivery_log.pauses import Pauses
from mailctl.delivery_log.queries.stalls import find_stalled_workers, find_unpublished
from mailctl.delivery_log.storage.engine_clock import clock_of
from mailctl.delivery_log.write_probe import sample_readability
from mailctl.domain.shell_command import mailctl_command
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Engine

    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.delivery_log.process_identity import ProcessIdentity
    from mailctl.delivery_log.write_probe import Readability
    from mailctl.security.keyring import Keyring

_GROUP = CheckGroup(name="workers")
KEYS_FIX = (
    "Set SECRET_KEY or MAILCTL_SECRET_KEYS_OLD to the key of the process that recorded them, and restart the"
    " workers."
)


def check_processes(
    engine: Engine, workers: Sequence[Worker], own: ProcessIdentity, *, keyring: Keyring
) -> Iterator[Finding]:
    """Compare the workers with this process, and see whether emails are published, taken and readable.

    Args:
        engine: of the delivery log.
        workers: the live workers that share it.
        own: the identity of this process.
        keyring: the secret keys of this process.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    yield from _agreement(workers, own, own_skew_seconds=clock_of(engine).skew_seconds)
    yield from _readability(engine, keyring)
    yield from _silence(engine, workers)
    yield from _pauses(engine)
    if workers:
        yield from _progress(engine, workers, now=clock_of(engine)())


def _agreement(
    workers: Sequence[Worker], own: ProcessIdentity, *, own_skew_seconds: float
) -> Iterator[Finding]:
    found = find_disagreements(workers, own, own_skew_seconds=own_skew_seconds)
    for each in found:
        make = _GROUP.fail if each.is_failure else _GROUP.warn
        yield make(each.subject, as_sentence(each.detail), fix=each.fix)
    known = [worker for worker in workers if worker.identity is not None]
    # These are compared between workers; this process may have none of its own.
    differing = {AgreementSubject.SETTINGS, AgreementSubject.TEMPLATES, *(each.subject for each in found)}
    agreed = [subject for subject in AgreementSubject if subject not in differing]
    if known and agreed:
        names = ", ".join(worker.name for worker in known)
        yield _GROUP.ok("agreement", f"{names} and this process agree on: {', '.join(agreed)}")


def _readability(engine: Engine, keyring: Keyring) -> Iterator[Finding]:
    sample = sample_readability(engine, keyring)
    if sample.unreadable:
        yield _GROUP.fail("content", f"{describe_unreadable(sample)}.", fix=KEYS_FIX)
    if sample.unbound:
        share = f"{sample.unbound} of {pluralize(sample.checked, 'waiting email')}"
        detail = f"An earlier version of mailctl encrypted {share}: workers cannot read them."
        yield _GROUP.fail("content", detail, fix=f"Run: {mailctl_command('db', 'rekey')}")
    if sample.checked and not sample.unreadable and not sample.unbound:
        yield _GROUP.ok("content", f"{pluralize(sample.checked, 'waiting email')} can be decrypted")


def describe_unreadable(sample: Readability) -> str:
    """Return which emails this process cannot decrypt, without a full stop."""
    share = f"{sample.unreadable} of {pluralize(sample.checked, 'waiting email')}"
    return f"This process cannot decrypt {share}: they were encrypted with another SECRET_KEY"


def _silence(engine: Engine, workers: Sequence[Worker]) -> Iterator[Finding]:
    """Yield a failure for each worker that is suspended, and a warning for one that has fallen silent."""
    silent = WorkerRegistry(engine).list_silent()
    # One of those that were alive a moment ago may be silent by now.
    suspended = {worker.id: worker for worker in (*workers, *silent) if is_suspended(worker)}
    yield from map(_suspended, suspended.values())
    now = clock_of(engine)()
    for worker in silent:
        if worker.id not in suspended:
            detail = describe_silence(worker, now=now, is_suspended=False)
            fix = "If it should run, look for its process and its log; if it was killed, start it again."
            yield _GROUP.warn("silent", as_sentence(detail), fix=fix)


def _pauses(engine: Engine) -> Iterator[Finding]:
    """Yield a warning for each pause: an operator wants it, and another one wonders why nothing goes out."""
    for pause in Pauses(engine).read():
        yield _GROUP.warn("paused", as_sentence(str(pause)), fix=f"To resume: {pause.resume_command}")


def _suspended(worker: Worker) -> Finding:
    return _GROUP.fail(
        "suspended",
        f"Worker {worker.name} does nothing: its process {worker.pid} is stopped by a signal.",
        fix=f"Resume it: kill -CONT {worker.pid}",
    )


def _progress(engine: Engine, workers: Sequence[Worker], *, now: datetime) -> Iterator[Finding]:
    unpublished = find_unpublished(engine, workers, now=now)
    if unpublished is not None:
        fix = "Check the broker, and read the logs of the workers, whose relays publish."
        yield _GROUP.fail("publishing", as_sentence(str(unpublished)), fix=fix)
    for stalled in find_stalled_workers(engine, workers, now=now):
        fix = f"Restart {stalled.worker}; its log may say what it waits for."
        yield _GROUP.fail("taking", as_sentence(str(stalled)), fix=fix)
