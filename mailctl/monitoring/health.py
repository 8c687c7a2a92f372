"""The hops that `health` checks: log, broker, results, workers, mail server, in order of dependency."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.broker.inspector import BrokerInspector
from mailctl.broker.messages import unclaimed_queue
from mailctl.broker.unclaimed import UnclaimedMessages, restore_command
from mailctl.checks.workers import needed_queues
from mailctl.deadlines import call_with_deadline
from mailctl.delivery_log.queries.queue_stats import QueueStats
from mailctl.domain.shell_command import mailctl_command, start_worker_fix
from mailctl.errors import ExitCode, MailctlError
from mailctl.monitoring.canary import send_canary
from mailctl.operations.known_names import check_queue_anywhere
from mailctl.timefmt import format_duration, pluralize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailctl.runtime import Runtime

#: How far back a reply of the mail server still counts as current.
_RECENT = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Hop:
    """The result of checking one service that emails pass through, or one step of a canary."""

    #: log, app, broker, results, workers, unclaimed, mail-server; of a canary: publish, worker, SMTP stages.
    name: str
    ok: bool
    detail: str
    fix: str = ""
    #: How long the answer took; None if nothing was queried.
    seconds: float | None = None
    #: The exit code that a failure of this hop causes.
    exit_code: ExitCode = ExitCode.DONE


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
    open_runtime: Callable[[], Runtime], *, canary: CanaryOptions | None = None
) -> Iterator[Hop]:
    """Check each hop, and optionally send a canary through all of them; no email is delivered.

    Args:
        open_runtime: returns the components of this process; called once.
        canary: the options of the canary; None sends none.

    Returns:
        The hops, each as soon as it is checked; those after a failed hop may be missing.
    """
    try:
        runtime, started = open_runtime(), time.monotonic()
        call_with_deadline(runtime.workers.list_alive, service="The delivery log")
    except MailctlError as error:
        yield _failed_hop("log", error)
        return
    yield Hop(name="log", ok=True, detail="answers", seconds=time.monotonic() - started)
    is_healthy = True
    for hop in _service_hops(runtime):
        is_healthy = is_healthy and hop.ok
        yield hop
    if canary is not None and is_healthy:
        yield from _canary_hops(runtime, canary)


def _service_hops(runtime: Runtime) -> Iterator[Hop]:
    try:
        broker = BrokerInspector(runtime.app)
        needed = needed_queues(runtime.app)
    except MailctlError as error:
        yield _failed_hop("app", error)
        return
    if broker.is_in_memory:
        yield Hop(
            name="broker",
            ok=True,
            detail="in memory, private to each worker; relays fill it from the delivery log",
        )
        yield from _workers(runtime, {}, needed)
    else:
        yield from _shared_broker_hops(runtime, broker, needed)
    yield _mail_server(runtime)


def _shared_broker_hops(
    runtime: Runtime, broker: BrokerInspector, needed: dict[str, list[str]]
) -> Iterator[Hop]:
    try:
        yield Hop(name="broker", ok=True, detail="answers", seconds=broker.ping())
    except MailctlError as error:
        yield _failed_hop("broker", error)
        return
    try:
        seconds = broker.ping_backend()
        detail = "the app has no result backend" if seconds is None else "the result backend answers"
        yield Hop(name="results", ok=True, detail=detail, seconds=seconds)
    except MailctlError as error:
        yield _failed_hop("results", error)
    with_heartbeat = {queue for worker in runtime.workers.list_alive() for queue in worker.queues}
    try:
        # Asking all workers takes a second, so ask only if heartbeats do not cover all queues.
        others = {} if with_heartbeat >= set(needed) else broker.queues_by_worker()
    except MailctlError as error:
        yield _failed_hop("workers", error)
        return
    yield from _workers(runtime, others, needed)
    yield from _unclaimed(runtime, with_heartbeat | set(needed))


def _unclaimed(runtime: Runtime, queues: set[str]) -> Iterator[Hop]:
    """Report messages of other apps that were moved aside; they do not prevent emails from being sent."""
    try:
        counts = UnclaimedMessages(runtime.app).counts(sorted(queues))
    except MailctlError as error:
        yield _failed_hop("unclaimed", error)
        return
    for queue, number in counts.items():
        messages = pluralize(number, "message")
        detail = f"{messages} of other apps in {unclaimed_queue(queue)!r}, claimed by no worker"
        yield Hop(name="unclaimed", ok=True, detail=detail, fix=restore_command(queue))


def _workers(
    runtime: Runtime, others: dict[str, tuple[str, ...]], needed: dict[str, list[str]]
) -> Iterator[Hop]:
    consuming = {worker.name: worker.queues for worker in runtime.workers.list_alive()} | others
    for queue in needed:
        names = sorted(name for name, queues in consuming.items() if queue in queues)
        if names:
            yield Hop(name="workers", ok=True, detail=f"queue {queue!r}: {', '.join(names)}")
        else:
            yield Hop(
                name="workers",
                ok=False,
                detail=f"no worker consumes queue {queue!r}",
                fix=start_worker_fix(queue),
                exit_code=ExitCode.FAILED,
            )


def _mail_server(runtime: Runtime) -> Hop:
    circuit = runtime.circuits.read() if runtime.circuits else None
    if circuit is not None and circuit.is_open:
        fix = "Run `mailctl check-config`; sending resumes automatically once the mail server works."
        return Hop(name="mail-server", ok=False, detail=str(circuit), fix=fix, exit_code=ExitCode.FAILED)
    if runtime.circuits is None:
        return Hop(name="mail-server", ok=True, detail="EMAIL_ENABLED=False: emails are captured")
    if circuit is not None:
        failed = pluralize(circuit.failures, "attempt")
        return Hop(name="mail-server", ok=True, detail=f"the last {failed} failed: {circuit.reason}")
    return _last_reply(runtime)


def _last_reply(runtime: Runtime) -> Hop:
    """Report the mail server's latest reply: without one, a closed circuit proves nothing."""
    now = runtime.clock()
    answer = QueueStats(runtime.engine).last_answer(since=now - _RECENT)
    if answer is None:
        detail = f"unknown: no email was attempted in the last {format_duration(_RECENT)}"
        return Hop(
            name="mail-server", ok=True, detail=detail, fix=str(mailctl_command("health", canary=True))
        )
    ago = format_duration(max(timedelta(), now - answer.at))
    return Hop(name="mail-server", ok=True, detail=f"answered {ago} ago; result: {answer.state}")


def _canary_hops(runtime: Runtime, options: CanaryOptions) -> Iterator[Hop]:
    try:
        queue = _canary_queue(runtime, options.queue)
        steps = send_canary(runtime, queue=queue, to=options.to, timeout=options.timeout_seconds)
    except MailctlError as error:
        yield _failed_hop("worker" if error.exit_code is ExitCode.PENDING else "publish", error)
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


def _failed_hop(name: str, error: MailctlError) -> Hop:
    return Hop(name=name, ok=False, detail=error.message, fix=error.fix, exit_code=error.exit_code)
