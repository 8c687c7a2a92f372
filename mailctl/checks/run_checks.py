"""All checks of `check-config`, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from mailctl.checks.app import check_app
from mailctl.checks.broker import check_broker
from mailctl.checks.delivery_log import check_log, is_log_file_missing
from mailctl.checks.dns import check_dns
from mailctl.checks.feedback import check_feedback
from mailctl.checks.finding import CheckGroup, Finding
from mailctl.checks.links import check_links
from mailctl.checks.own_tasks import check_recording
from mailctl.checks.pitfalls import check_pitfalls
from mailctl.checks.processes import check_processes
from mailctl.checks.refusals import check_recent_refusals
from mailctl.checks.rules import check_rules
from mailctl.checks.settings import check_settings
from mailctl.checks.shared_queues import check_shared_queues
from mailctl.checks.smtp import check_smtp
from mailctl.checks.templates import check_templates
from mailctl.checks.users import check_users
from mailctl.checks.workers import check_workers
from mailctl.delivery_log.process_identity import identify_process
from mailctl.errors import MailctlError
from mailctl.process.deadlines import call_with_deadline
from mailctl.security.keyring import Keyring
from mailctl.smtp.mail_servers import mail_servers_from_settings

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from sqlalchemy import Engine

    from mailctl.checks.workers import DiscoveredWorkers
    from mailctl.settings import Settings

_T = TypeVar("_T")


def run_checks(
    settings: Settings,
    *,
    offline: bool = False,
    send_test: str | None = None,
    dns: bool = False,
    dns_server: str = "",
) -> Iterator[Finding]:
    """Check the configuration without changing anything.

    Args:
        settings: the settings to check.
        offline: whether to skip all checks that use the network.
        send_test: the address to send one test message to; None sends none.
        dns: whether to ask DNS about the domains of the senders.
        dns_server: the DNS server to ask; "" for those of this host.

    Returns:
        The findings, each as soon as its check is done. Problems are findings, not exceptions, and no
        finding contains a secret.
    """
    yield from _findings(settings, offline=offline, send_test=send_test)
    if dns and offline:
        yield CheckGroup(name="dns").skip("dns", "offline")
    elif dns:
        yield from check_dns(settings, server=dns_server)


def _findings(settings: Settings, *, offline: bool, send_test: str | None) -> Iterator[Finding]:
    yield from check_settings(settings)
    catalog = yield from check_rules(settings)
    app = yield from _reported("app", check_app(settings))
    broker = yield from check_broker(app, offline=offline)
    log = yield from _reported("log", check_log(settings, offline=offline))
    reported: frozenset[str] = frozenset()
    try:
        yield from _reported("users", check_users(settings, log, offline=offline))
        yield from check_links(settings, catalog, offline=offline)
        yield from check_feedback(settings, catalog)
        yield from _reported("templates", check_templates(settings, catalog))
        yield from check_smtp(settings, offline=offline, send_test=send_test)
        yield from check_recent_refusals(log, settings)
        workers = yield from check_workers(
            app, log, broker, catalog=catalog, is_log_missing=is_log_file_missing(settings)
        )
        if log is not None:
            yield from _reported("workers", _processes(settings, log, workers))
        if app is not None:
            yield from check_recording(settings, app, workers)
        if app is not None and broker is not None:
            shared = check_shared_queues(app, log, workers, catalog=catalog, settings=settings)
            reported = (yield from _reported("workers", shared)) or reported
    finally:
        if log is not None:
            log.dispose()
    yield from _reported("hazards", check_pitfalls(settings, app, workers, reported=reported))


def _processes(settings: Settings, log: Engine, workers: DiscoveredWorkers) -> Generator[Finding, None, None]:
    keyring = Keyring(settings.secret_keys)

    def compare() -> list[Finding]:
        more = mail_servers_from_settings(settings).labels[1:] if settings.email_enabled else ()
        own = identify_process(log, keyring, settings, more_servers=more)
        return list(check_processes(log, workers.heartbeats, own, keyring=keyring))

    yield from call_with_deadline(compare, service="The delivery log")


def _reported(group: str, check: Generator[Finding, None, _T]) -> Generator[Finding, None, _T | None]:
    """Yield the findings of a check and return its result; an error becomes the last finding."""
    try:
        return (yield from check)
    except MailctlError as error:
        yield CheckGroup(name=group).error("set-up", error)
        return None
