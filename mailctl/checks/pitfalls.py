"""Checks for pitfalls: settings that work, but are unsafe or lose emails."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from mailctl.celery_app import has_memory_broker, has_recorder, overridden_tasks
from mailctl.checks.delivery_log import is_log_file, is_world_readable
from mailctl.checks.finding import CheckGroup, Finding
from mailctl.checks.placeholders import find_placeholders
from mailctl.checks.settings import env_files, secret_names
from mailctl.checks.workers import needed_queues
from mailctl.domain.catalog import TASK_NAMES
from mailctl.domain.link_validation import MAX_URL, is_local_host
from mailctl.domain.shell_command import chmod_command
from mailctl.errors import ConfigurationError
from mailctl.security.links import links_problem
from mailctl.settings.connection_urls.options import UNVERIFIED
from mailctl.settings.hosts import socket_path
from mailctl.settings.secret_keys import InvalidKeys

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator

    from celery import Celery

    from mailctl.checks.workers import DiscoveredWorkers
    from mailctl.settings import Settings

_GROUP = CheckGroup(name="hazards")
#: Celery's default queue.
_CELERY_DEFAULT_QUEUE = "celery"


def check_pitfalls(
    settings: Settings, app: Celery | None, workers: DiscoveredWorkers, *, reported: Collection[str] = ()
) -> Generator[Finding, None, None]:
    """Yield a warning or a failure for each pitfall, or one finding that there are none.

    Args:
        settings: the settings.
        app: the Celery app; None if it is not available.
        workers: the live workers.
        reported: the workers that another check has already reported as not sharing the log.
    """
    found = [
        *(_production(settings, app) if not settings.debug else ()),
        *_secret_keys(settings),
        *_unencrypted_credentials(settings),
        *_unverified_redis(settings),
        *_unshared_log(settings, app, workers, reported=reported),
    ]
    yield from found
    if not found:
        yield _GROUP.ok("none", f"no hazards were found for {settings.profile}")


def _unverified_redis(settings: Settings) -> Iterator[Finding]:
    """Yield a warning for each rediss:// address whose certificate is not verified."""
    addresses = {"broker": settings.broker_url, "result backend": settings.result_backend}
    for name, address in addresses.items():
        options = parse_qs(urlsplit(address.partition(";")[0]).query)
        if address.startswith("rediss://") and UNVERIFIED.intersection(options.get("ssl_cert_reqs", ())):
            yield _GROUP.warn(
                f"unverified {name}",
                f"The certificate of the {name} is not verified (ssl_cert_reqs): anyone on the path can"
                " read and change messages.",
                fix="Remove ssl_cert_reqs, and name your own CA with ssl_ca_certs=PATH.",
            )


def check_secrets_file(settings: Settings) -> Iterator[Finding]:
    """Yield a warning if all users of this host can read a file with secrets; only in production."""
    if not settings.debug:
        yield from _readable_env_file(settings)


def _production(settings: Settings, app: Celery | None) -> Iterator[Finding]:
    yield from _memory_broker(settings, app)
    yield from _default_queue_name(settings)
    yield from _placeholders(settings)
    yield from _capture(settings)
    yield from _frontend_url(settings)
    yield from _unencrypted_smtp(settings)
    yield from _readable_env_file(settings)


def _memory_broker(settings: Settings, app: Celery | None) -> Iterator[Finding]:
    if has_memory_broker(app) if app is not None else settings.uses_memory_broker:
        yield _GROUP.fail(
            "memory broker",
            "The broker is memory:// in production: other processes cannot receive its messages.",
            fix="Remove CELERY_BROKER_URL and set REDIS_HOST, or set it to a broker shared by all processes.",
        )


def _default_queue_name(settings: Settings) -> Iterator[Finding]:
    if settings.celery_queue_default == _CELERY_DEFAULT_QUEUE and not settings.mailctl_app:
        yield _GROUP.warn(
            "CELERY_QUEUE_DEFAULT",
            f"The queue {_CELERY_DEFAULT_QUEUE!r} is the default of all Celery apps: others on this broker "
            "would consume emails, and mailctl their messages.",
            fix="Set CELERY_QUEUE_DEFAULT=mailctl here and for the web service.",
        )


def _secret_keys(settings: Settings) -> Iterator[Finding]:
    try:
        _ = settings.secret_keys
    except InvalidKeys as error:
        yield _GROUP.fail(error.setting, error.reason, fix=error.fix)


def _placeholders(settings: Settings) -> Iterator[Finding]:
    for found in find_placeholders(settings):
        yield _GROUP.fail(found.setting, found.reason, fix=found.fix)


def _capture(settings: Settings) -> Iterator[Finding]:
    if not settings.email_enabled:
        yield _GROUP.warn(
            "EMAIL_ENABLED",
            "Emails are captured to files in production, not sent.",
            fix="Set EMAIL_ENABLED=True.",
        )


def _frontend_url(settings: Settings) -> Iterator[Finding]:
    if len(settings.frontend_url) > MAX_URL:
        return  # the check of links reports it
    try:
        parts = urlsplit(settings.frontend_url)
    except ValueError:
        return  # the check of links reports it
    fix = "Set FRONTEND_URL to the https URL of the service, and restart the workers."
    if parts.scheme == "http" and not is_local_host(parts.hostname or ""):
        yield _GROUP.fail(
            "FRONTEND_URL", "The links in emails use http, so their tokens can be intercepted.", fix=fix
        )
    elif is_local_host(parts.hostname or ""):
        yield _local_links(settings, fix=fix)


def _local_links(settings: Settings, *, fix: str) -> Finding:
    """Say what becomes of emails whose links lead to the computer of their reader (`links_problem`)."""
    reason = "The links in emails lead to the reader's own computer"
    try:
        is_refused = bool(links_problem(settings))
    except ConfigurationError:
        is_refused = True  # MAILCTL_LINK_ORIGINS is wrong, which the check of links reports
    if is_refused:
        effect = "emails with security links are deferred, and the others are sent with such links"
        return _GROUP.fail("FRONTEND_URL", f"{reason}: {effect}.", fix=fix)
    # Without a mail server, a service may be tried out on one computer.
    why = "MAILCTL_LINK_ORIGINS allows that" if settings.email_enabled else "no email leaves this host"
    return _GROUP.warn("FRONTEND_URL", f"{reason}; {why}.", fix=fix)


def _unencrypted_smtp(settings: Settings) -> Iterator[Finding]:
    is_local = socket_path(settings.email_host) is not None or is_local_host(settings.email_host)
    if settings.email_tls == "none" and not is_local:
        yield _GROUP.warn(
            "EMAIL_TLS",
            "Emails and their links are sent to another host unencrypted.",
            fix="Set EMAIL_TLS to starttls or implicit.",
        )


def _readable_env_file(settings: Settings) -> Iterator[Finding]:
    for path in env_files(settings):
        names = secret_names(settings, str(path))
        if names and is_world_readable(path):
            yield _GROUP.warn(
                str(path),
                f"All users of this host can read this file, which contains {', '.join(names)}.",
                fix=str(chmod_command("o-r", [path])),
            )


def _unencrypted_credentials(settings: Settings) -> Iterator[Finding]:
    if settings.email_tls == "none" and settings.email_host_user:
        yield _GROUP.fail(
            "credentials",
            "EMAIL_HOST_USER is set, but EMAIL_TLS is none: mailctl never sends credentials unencrypted.",
            fix="Set EMAIL_TLS to starttls or implicit, or remove EMAIL_HOST_USER.",
        )


def _unshared_log(
    settings: Settings, app: Celery | None, workers: DiscoveredWorkers, *, reported: Collection[str]
) -> Iterator[Finding]:
    if not is_log_file(settings):
        return
    fix = "Set MAILCTL_DATABASE_URL to a PostgreSQL database that all workers can reach."
    here = socket.gethostname()
    hosts = sorted({worker.host for worker in workers.heartbeats if worker.host != here})
    if hosts:
        yield _GROUP.warn(
            "SQLite log",
            f"Workers on {', '.join(hosts)} use this SQLite file over a network file system.",
            fix=fix,
        )
    unlogged = sorted({*_workers_without_log(app, workers)} - {*reported}) if app is not None else []
    if unlogged:
        yield _GROUP.warn(
            "SQLite log",
            "Workers that do not share this delivery log consume emails, so their outcomes are missing here: "
            f"{', '.join(unlogged)}.",
            fix=fix,
        )


def _workers_without_log(app: Celery, workers: DiscoveredWorkers) -> Iterator[str]:
    """Yield the workers that consume emails without sharing the log, unless the service has its own tasks.

    A worker with the recorder writes to the log, but has no heartbeat without mailctl's tasks.
    """
    if has_recorder(app) or overridden_tasks(app) == TASK_NAMES:
        return
    needed = needed_queues(app).keys()
    yield from (node for node, queues in workers.unlogged_workers.items() if needed & set(queues))
