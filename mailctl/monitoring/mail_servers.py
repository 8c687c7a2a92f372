"""The mail servers of all live workers: whether they work, by the attempts that the delivery log has."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log.circuits import read_circuits
from mailctl.delivery_log.queries.queue_stats import QueueStats
from mailctl.domain.shell_command import mailctl_command
from mailctl.errors import ExitCode
from mailctl.monitoring.hops import Hop
from mailctl.timefmt import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailctl.delivery_log.circuits import Circuit
    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.runtime import Runtime

#: How far back a reply of the mail server still counts as current.
_RECENT = timedelta(hours=1)
_NAME = "mail-server"
_FIX = (
    "Run `mailctl check-config` on the worker's host; "
    "restart the workers after you change a setting; otherwise sending resumes once the server works."
)


def used_servers(runtime: Runtime, workers: Sequence[Worker]) -> list[str]:
    """Return the mail servers of all live workers, or of this process if there is none.

    Each is host:port, after its name if it is not the default one; "" stands for capturing emails.

    Args:
        runtime: the components of this process.
        workers: the live workers that share the delivery log.
    """
    identities = [worker.identity for worker in workers]
    servers = sorted({server for identity in identities if identity for server in identity.servers})
    return servers or list(runtime.identity.servers)


def mail_server_hops(runtime: Runtime, workers: Sequence[Worker]) -> Iterator[Hop]:
    """Report on the mail servers of all live workers; without any, on that of this process.

    Args:
        runtime: the components of this process.
        workers: the live workers that share the delivery log.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    servers = used_servers(runtime, workers)
    circuits = {circuit.server: circuit for circuit in read_circuits(runtime.engine)}
    for server in servers:
        yield _mail_server(runtime, server, circuits.get(server), is_only=len(servers) < 2)


def _mail_server(runtime: Runtime, server: str, circuit: Circuit | None, *, is_only: bool) -> Hop:
    if not server:
        return Hop(name=_NAME, ok=True, detail="EMAIL_ENABLED=False: emails are captured")
    if circuit is not None:
        return _failing_server(circuit)
    return _last_reply(runtime) if is_only else Hop(name=_NAME, ok=True, detail=f"{server} is not failing")


def _failing_server(circuit: Circuit) -> Hop:
    """Report a mail server at which the last attempt failed, whether its circuit is open or not."""
    failed = "the last attempt" if circuit.failures == 1 else f"the last {circuit.failures} attempts"
    detail = str(circuit) if circuit.is_open else f"{failed} at {circuit.server} failed: {circuit.reason}"
    return Hop(name=_NAME, ok=False, detail=detail, fix=_FIX, exit_code=ExitCode.FAILED)


def _last_reply(runtime: Runtime) -> Hop:
    """Report the mail server's latest reply: without one, a closed circuit proves nothing."""
    if runtime.is_log_missing:
        detail = "unknown: no delivery log with the last attempt can be read"
        return Hop(name=_NAME, ok=True, detail=detail, fix=str(mailctl_command("check-config")))
    now = runtime.clock()
    answer = QueueStats(runtime.engine).last_answer(since=now - _RECENT)
    if answer is None:
        detail = f"unknown: it has replied to no email in the last {format_duration(_RECENT)}"
        fix = str(mailctl_command("health", canary=True))
        return Hop(name=_NAME, ok=True, detail=detail, fix=fix)
    ago = format_duration(max(timedelta(), now - answer.at))
    return Hop(name=_NAME, ok=True, detail=f"answered {ago} ago; result: {answer.state}")
