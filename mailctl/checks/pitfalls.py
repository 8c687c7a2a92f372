"""Hazards: settings that work, and that one would regret."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mailctl.celery_app import has_memory_broker, overridden_tasks
from mailctl.checks.delivery_log import is_log_file, is_world_readable
from mailctl.checks.finding import CheckGroup, Finding
from mailctl.checks.placeholders import find_placeholders
from mailctl.checks.settings import env_files, secret_names
from mailctl.checks.workers import needed_queues
from mailctl.domain.catalog import TASK_NAMES
from mailctl.domain.validation import MAX_URL, is_local_host
from mailctl.secret_keys import WeakKey
from mailctl.shell_command import chmod_command

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from celery import Celery

    from mailctl.checks.workers import DiscoveredWorkers
    from mailctl.settings import Settings

_GROUP = CheckGroup(name="hazards")
#: The queue of Celery apps that are not told otherwise.
_CELERY_DEFAULT_QUEUE = "celery"


def check_pitfalls(
    settings: Settings, app: Celery | None, roster: DiscoveredWorkers
) -> Generator[Finding, None, None]:
    """Look for each hazard; if there is none, say so.

    Args:
        app: None where it cannot be had.
        roster: who works.
    """
    found = [
        *(_production(settings, app) if not settings.debug else ()),
        *_unencrypted_credentials(settings),
        *_unshared_log(settings, app, roster),
    ]
    yield from found
    if not found:
        yield _GROUP.ok("none", f"no hazard is known in {settings.profile}")


def check_secrets_file(settings: Settings) -> Iterator[Finding]:
    """Find files with secrets that every user of this host may read; in development nobody minds."""
    if not settings.debug:
        yield from _readable_env_file(settings)


def _production(settings: Settings, app: Celery | None) -> Iterator[Finding]:
    yield from _memory_broker(settings, app)
    yield from _default_queue_name(settings)
    yield from _secret_key(settings)
    yield from _placeholders(settings)
    yield from _capture(settings)
    yield from _frontend_url(settings)
    yield from _unencrypted_smtp(settings)
    yield from _readable_env_file(settings)


def _memory_broker(settings: Settings, app: Celery | None) -> Iterator[Finding]:
    if has_memory_broker(app) if app is not None else settings.uses_memory_broker:
        yield _GROUP.fail(
            "memory broker",
            "DEBUG=False with memory://: what one process publishes no other receives.",
            fix="Remove CELERY_BROKER_URL and set REDIS_HOST, or name a broker that all processes share.",
        )


def _default_queue_name(settings: Settings) -> Iterator[Finding]:
    if settings.celery_queue_default == _CELERY_DEFAULT_QUEUE and not settings.mailctl_app:
        yield _GROUP.warn(
            "CELERY_QUEUE_DEFAULT",
            f"is {_CELERY_DEFAULT_QUEUE}, as in every Celery app: another one on this broker takes emails, "
            "and this one its messages",
            fix="Set CELERY_QUEUE_DEFAULT=mailctl, here and for the web service.",
        )


def _secret_key(settings: Settings) -> Iterator[Finding]:
    try:
        _ = settings.secret_keys
    except WeakKey as error:
        yield _GROUP.fail(error.setting, error.reason, fix=error.fix)


def _placeholders(settings: Settings) -> Iterator[Finding]:
    for found in find_placeholders(settings):
        yield _GROUP.fail(found.setting, found.reason, fix=found.fix)


def _capture(settings: Settings) -> Iterator[Finding]:
    if not settings.email_enabled:
        yield _GROUP.warn(
            "EMAIL_ENABLED", "is False in production: emails go to files", fix="Set EMAIL_ENABLED=True."
        )


def _frontend_url(settings: Settings) -> Iterator[Finding]:
    if len(settings.frontend_url) > MAX_URL:
        return  # which is refused where links are made
    try:
        parts = urlsplit(settings.frontend_url)
    except ValueError:
        return  # the same
    fix = "Set FRONTEND_URL to the https address of the service."
    if is_local_host(parts.hostname or ""):
        # Sent all the same: a service that is tried out on one computer is whole.
        judge = _GROUP.fail if settings.email_enabled else _GROUP.warn
        yield judge("FRONTEND_URL", "leads the readers of emails to their own computer", fix=fix)
    elif parts.scheme == "http":
        yield _GROUP.fail("FRONTEND_URL", "is http: whoever reads along can use the links.", fix=fix)


def _unencrypted_smtp(settings: Settings) -> Iterator[Finding]:
    if settings.email_tls == "none" and not is_local_host(settings.email_host):
        yield _GROUP.warn(
            "EMAIL_TLS",
            "is none, and the mail server is another host: emails and their links travel in clear",
            fix="Set EMAIL_TLS to starttls or implicit.",
        )


def _readable_env_file(settings: Settings) -> Iterator[Finding]:
    for path in env_files(settings):
        names = secret_names(settings, str(path))
        if names and is_world_readable(path):
            yield _GROUP.warn(
                str(path),
                f"every user of this host may read it, and it holds {', '.join(names)}",
                fix=str(chmod_command("o-r", [path])),
            )


def _unencrypted_credentials(settings: Settings) -> Iterator[Finding]:
    if settings.email_tls == "none" and settings.email_host_user:
        yield _GROUP.fail(
            "credentials",
            "EMAIL_HOST_USER is set and EMAIL_TLS=none: credentials are never sent in clear.",
            fix="Set EMAIL_TLS to starttls or implicit, or remove EMAIL_HOST_USER.",
        )


def _unshared_log(settings: Settings, app: Celery | None, roster: DiscoveredWorkers) -> Iterator[Finding]:
    if not is_log_file(settings):
        return
    fix = "Let MAILCTL_DATABASE_URL name a PostgreSQL database that all of them reach."
    here = socket.gethostname()
    hosts = sorted({worker.host for worker in roster.heartbeats if worker.host != here})
    if hosts:
        yield _GROUP.warn(
            "SQLite log", f"workers on {', '.join(hosts)} use this file over a network file system", fix=fix
        )
    strangers = sorted(_workers_without_log(app, roster)) if app is not None else []
    if strangers:
        yield _GROUP.warn(
            "SQLite log",
            f"{', '.join(strangers)} takes emails from the broker and does not share this delivery log, "
            "which therefore misses what becomes of them",
            fix=fix,
        )


def _workers_without_log(app: Celery, roster: DiscoveredWorkers) -> Iterator[str]:
    """Return the workers that take emails and are not in the log; with tasks of its own, a service's may."""
    if overridden_tasks(app) == TASK_NAMES:
        return
    needed = needed_queues(app).keys()
    yield from (node for node, queues in roster.unlogged_workers.items() if needed & set(queues))
