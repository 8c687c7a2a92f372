"""The hops that `health` checks: log, broker, results, workers, mail server, in order of dependency."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.broker.inspector import BrokerInspector
from mailctl.broker.messages import unclaimed_queue
from mailctl.broker.unclaimed import UnclaimedMessages, restore_command
from mailctl.celery_app import consumed_queues
from mailctl.checks.other_delivery_logs import find_other_workers
from mailctl.checks.processes import check_processes
from mailctl.checks.shared_queues import other_worker_findings
from mailctl.checks.workers import needed_queues
from mailctl.delivery_log.opening import check_creatable
from mailctl.delivery_log.storage.urls import delivery_log_url
from mailctl.delivery_log.write_probe import check_writable
from mailctl.domain.shell_command import start_worker_fix
from mailctl.errors import BrokerRefused, ExitCode, LogMissing, MailctlError
from mailctl.monitoring.canary import send_canary
from mailctl.monitoring.feedback_silence import feedback_hops
from mailctl.monitoring.hops import Hop, failed_hop, hop_of_finding
from mailctl.monitoring.mail_servers import mail_server_hops
from mailctl.operations.known_names import check_queue_anywhere
from mailctl.process.deadlines import call_with_deadline
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from celery import Celery

    from mailctl.checks.finding import Finding
    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.runtime import Runtime

_LOG = "The delivery log"


@dataclass(frozen=True, kw_only=True)
class CanaryOptions:
    """The options of a canary."""

    #: The address to give in RCPT; None means the sender's own address.
    to: str | None
    #: The queue to send it to; None means the queue of the first kind.
    queue: str | None
    #: How long to wait for a worker.
    timeout_seconds: float


def check_health(
    open_runtime: Callable[[], Runtime],
    *,
    open_without_log: Callable[[], Runtime],
    canary: CanaryOptions | None = None,
) -> Iterator[Hop]:
    """Check each hop, and optionally send a canary through all of them; no email is delivered.

    The checks do what an email needs: they record one and delete it, publish a message that no queue keeps,
    store and delete a result, and decrypt emails that wait.

    Args:
        open_runtime: returns the components of this process; called once.
        open_without_log: returns those of a process without a delivery log; called once if the log cannot be
            used, to check the other hops.
        canary: the options of the canary; None sends none.

    Returns:
        The hops, each as soon as it is checked; those that need a failed hop may be missing.

    Raises:
        ConfigurationError: a setting is invalid without which nothing can be checked.
    """
    runtime, workers = yield from _open_log(open_runtime, open_without_log)
    is_healthy = not runtime.is_log_missing
    try:
        for hop in _hops(runtime, workers):
            is_healthy = is_healthy and hop.ok
            yield hop
    finally:
        if runtime.is_log_missing:
            runtime.close()
    if canary is None:
        return
    if is_healthy:
        yield from _canary_hops(runtime, canary)
    else:
        yield Hop(
            name="canary",
            ok=True,
            detail="not sent, because a check before it failed",
            fix="Correct what failed first.",
        )


def _open_log(
    open_runtime: Callable[[], Runtime], open_without_log: Callable[[], Runtime]
) -> Generator[Hop, None, tuple[Runtime, Sequence[Worker] | None]]:
    """Yield a failed hop if the log cannot be read, and return the components to check the rest with.

    Returns:
        Those with the log and its live workers, or else those without. The workers are None if the log exists
        and cannot be read.

    Raises:
        ConfigurationError: other settings are not usable either.
    """
    try:
        runtime = open_runtime()
        return runtime, call_with_deadline(runtime.workers.list_alive, service=_LOG)
    except MailctlError as error:
        log_error = error
    runtime = open_without_log()
    obstacle = creation_obstacle(runtime) if isinstance(log_error, LogMissing) else None
    yield failed_hop("log", obstacle or log_error)
    return runtime, () if isinstance(log_error, LogMissing) else None


def creation_obstacle(runtime: Runtime) -> MailctlError | None:
    """Return why a missing log cannot be created; None if the first email or worker will do so."""
    try:
        call_with_deadline(lambda: check_creatable(runtime.settings), service=_LOG)
    except MailctlError as error:
        return error
    return None


def _hops(runtime: Runtime, workers: Sequence[Worker] | None) -> Iterator[Hop]:
    if not runtime.is_log_missing:
        yield _recording(runtime)
    yield from _service_hops(runtime, workers)
    if not runtime.is_log_missing:
        yield from _processes(runtime, workers or ())
        yield from feedback_hops(runtime)
    yield from mail_server_hops(runtime, workers or ())


def _recording(runtime: Runtime) -> Hop:
    """Record an email and delete it."""
    started, url = time.monotonic(), delivery_log_url(runtime.settings)
    try:
        call_with_deadline(lambda: check_writable(url), service=_LOG)
    except MailctlError as error:
        return failed_hop("log", error)
    return Hop(name="log", ok=True, detail="answers and records emails", seconds=time.monotonic() - started)


def _processes(runtime: Runtime, workers: Sequence[Worker]) -> Iterator[Hop]:
    """Compare the workers with this process, and see whether emails are published, taken and readable."""

    def compare() -> list[Finding]:
        return list(check_processes(runtime.engine, workers, runtime.identity, keyring=runtime.keyring))

    try:
        findings = call_with_deadline(compare, service=_LOG)
    except MailctlError as error:
        yield failed_hop("log", error)
        return
    yield from map(hop_of_finding, findings)


def _service_hops(runtime: Runtime, workers: Sequence[Worker] | None) -> Iterator[Hop]:
    try:
        broker = BrokerInspector(runtime.app)
        needed = needed_queues(runtime.app)
    except MailctlError as error:
        yield failed_hop("app", error)
        return
    if broker.is_in_memory:
        yield Hop(
            name="broker",
            ok=True,
            detail="in memory, private to each worker; relays fill it from the delivery log",
        )
        if not runtime.is_log_missing:
            yield from _workers(runtime.app, workers or (), {}, needed)
    else:
        yield from _shared_broker_hops(runtime, broker, needed, workers)


def _shared_broker_hops(
    runtime: Runtime, broker: BrokerInspector, needed: dict[str, list[str]], workers: Sequence[Worker] | None
) -> Iterator[Hop]:
    try:
        answer = broker.probe()
    except MailctlError as error:
        yield failed_hop("broker", error)
        if not isinstance(error, BrokerRefused):
            return
    else:
        detail = "answers and accepts messages" if answer.has_accepted_message else "answers"
        yield Hop(name="broker", ok=True, detail=detail, seconds=answer.seconds)
    try:
        seconds = broker.probe_backend()
        detail = "the app has no result backend" if seconds is None else "the result backend answers"
        yield Hop(name="results", ok=True, detail=detail, seconds=seconds)
    except MailctlError as error:
        yield failed_hop("results", error)
    with_heartbeat = {queue for worker in workers or () for queue in worker.queues}
    try:
        nodes = broker.queues_by_worker()
    except MailctlError as error:
        if not with_heartbeat >= set(needed):
            yield failed_hop("workers", error)
            return
        nodes = {}
    known = {worker.name for worker in workers or ()}
    others = {name: queues for name, queues in nodes.items() if name not in known}
    yield from _workers(runtime.app, workers or (), others, needed)
    if workers is not None:  # otherwise it is not known which of them share the log
        found = find_other_workers(runtime.app, broker, with_heartbeat | set(needed), others)
        findings = other_worker_findings(found, runtime.settings, own_queues=with_heartbeat)
        yield from map(hop_of_finding, findings)
    yield from _unclaimed(runtime, with_heartbeat | set(needed))


def _unclaimed(runtime: Runtime, queues: set[str]) -> Iterator[Hop]:
    """Report messages of other apps that were moved aside; they do not prevent emails from being sent."""
    try:
        counts = UnclaimedMessages(runtime.app).counts(sorted(queues))
    except MailctlError as error:
        yield failed_hop("unclaimed", error)
        return
    for queue, number in counts.items():
        messages = pluralize(number, "message")
        detail = f"{messages} of other apps in {unclaimed_queue(queue)!r}, claimed by no worker"
        yield Hop(name="unclaimed", ok=True, detail=detail, fix=restore_command(queue))


def _workers(
    app: Celery, workers: Sequence[Worker], others: dict[str, tuple[str, ...]], needed: dict[str, list[str]]
) -> Iterator[Hop]:
    consuming = {worker.name: worker.queues for worker in workers} | others
    for queue in needed:
        names = sorted(name for name, queues in consuming.items() if queue in queues)
        if names:
            yield Hop(name="workers", ok=True, detail=f"queue {queue!r}: {', '.join(names)}")
        else:
            yield Hop(
                name="workers",
                ok=False,
                detail=f"no worker consumes queue {queue!r}",
                fix=start_worker_fix(queue, default_queues=consumed_queues(app)),
                exit_code=ExitCode.FAILED,
            )


def _canary_hops(runtime: Runtime, options: CanaryOptions) -> Iterator[Hop]:
    try:
        queue = _canary_queue(runtime, options.queue)
        steps = send_canary(runtime, queue=queue, to=options.to, timeout=options.timeout_seconds)
    except MailctlError as error:
        yield failed_hop("worker" if error.exit_code is ExitCode.PENDING else "publish", error)
        return
    for step in steps:
        code = ExitCode.UNAVAILABLE if step.name == "connect" else ExitCode.FAILED
        yield Hop(
            name=step.name,
            ok=step.ok,
            detail=step.detail,
            seconds=step.seconds,
            fix="" if step.ok else "Run `mailctl check-config` on the worker's host.",
            exit_code=ExitCode.DONE if step.ok else code,
        )


def _canary_queue(runtime: Runtime, queue: str | None) -> str:
    """Return the queue of a canary: the given one if it exists, or else the queue of the first kind."""
    needed = needed_queues(runtime.app)
    if queue is None:
        return next(iter(needed))
    if queue not in needed:
        check_queue_anywhere(runtime, queue)
    return queue
