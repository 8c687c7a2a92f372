"""Starts a Celery worker of the app, with the pool that suits its broker."""

from __future__ import annotations

import gc
import logging
import os
from typing import TYPE_CHECKING, Any

import billiard.pool
from celery.signals import setup_logging, worker_before_create_process, worker_shutting_down
from celery.utils.nodenames import host_format

from mailctl.broker.connection import check_driver
from mailctl.broker.inspector import BrokerInspector
from mailctl.celery_app import consumed_queues, has_memory_broker
from mailctl.delivery_log.storage.engine import create_log
from mailctl.delivery_log.storage.urls import delivery_log_url
from mailctl.delivery_log.write_probe import check_writable
from mailctl.domain.choices import require_choice
from mailctl.errors import ExitCode, UnknownName
from mailctl.json_logging import LOG_FORMATS, configure_json_logging
from mailctl.process.memory_protection import forbid_memory_dumps
from mailctl.recorder.hooks import record_tasks
from mailctl.settings import BULK_QUEUE, GROUPS_QUEUE
from mailctl.worker.shared_queues import warn_of_other_messages

if TYPE_CHECKING:
    from mailctl.runtime import Runtime
    from mailctl.worker.foreign_messages.schedule import RequeueSchedule

POOLS = ("prefork", "threads", "solo")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
#: Tenths of a second that an ending pool process waits for its parent to read its last result. With
#: billiard's 300, a warm shutdown takes 30 s if the parent has stopped reading; the delivery log has the
#: outcome anyway.
_EXIT_WAIT_TENTHS = 10
#: More than there are cores, because threads mostly wait for the mail server.
_DEFAULT_THREADS = 4


def run_worker(
    runtime: Runtime,
    *,
    concurrency: int | None = None,
    pool: str | None = None,
    queues: str | None = None,
    loglevel: str = "INFO",
    log_format: str = "text",
    hostname: str | None = None,
    drain: bool = False,
    has_color: bool = True,
    drop_foreign: bool = False,
    foreign_schedule: RequeueSchedule | None = None,
) -> int:
    """Run a worker until a signal stops it, or with `drain` until no work is left.

    Args:
        runtime: the parts of this process.
        concurrency: the number of emails at the same time; None for one per core, or a few threads.
        pool: prefork, threads or solo; None means threads with a memory broker, which is private to its
            process, and prefork with any other.
        queues: the names of the queues, separated by commas; None for the queues of the app, of the service's
            own kinds, and of campaigns.
        loglevel: the level of the log, in upper or lower case.
        log_format: text for Celery's format, or json for one object in each line.
        hostname: the Celery node name; %h, %n and %d in it stand for parts of the host name.
        drain: whether to stop when no work is left.
        has_color: whether banner and log may use colors on a terminal.
        drop_foreign: whether to delete messages of other apps, instead of keeping them for their workers.
        foreign_schedule: when messages of other apps are requeued; None for the default.

    Returns:
        The exit code: 0 after a warm shutdown, 130 if a second signal forced a cold one.

    Raises:
        InvalidInput: an option is invalid.
        ConfigurationError: the service's own kinds cannot be loaded.
        BrokerRefused: the driver of the broker cannot be loaded.
        BrokerUnavailable: with `drain`, the broker does not answer.
        LogUnavailable: with `drain`, the delivery log cannot be read or written.
    """
    runtime.check_message_settings()
    app = runtime.app
    record_tasks(app, settings=runtime.settings)
    pool = _choose_pool(pool, is_private=has_memory_broker(app))
    _check_options(loglevel, log_format)
    _configure_logging(loglevel, log_format)
    check_driver(app)
    if drain:
        BrokerInspector(app).ping()
    billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = _EXIT_WAIT_TENTHS
    # Computed even if `queues` is given: a worker that cannot load the kinds must not start.
    default_queues = _default_queues(runtime)
    names = _queue_names(queues) or default_queues
    create_log(runtime.engine)
    if drain:
        _check_log(runtime)
    worker = app.Worker(
        hostname=host_format(hostname) if hostname else None,
        pool_cls=pool,
        loglevel=loglevel.upper(),
        concurrency=concurrency or (_DEFAULT_THREADS if pool == "threads" else os.cpu_count()),
        queues=names,
        without_gossip=True,
        without_mingle=True,
        drain=drain,
        no_color=None if has_color else True,
        drop_foreign=drop_foreign,
        foreign_schedule=foreign_schedule,
        # Celery's banner is not JSON.
        quiet=log_format == "json",
    )
    warn_of_other_messages(app, names)
    worker_before_create_process.connect(_freeze_gc, weak=False)
    forbid_memory_dumps()
    return _run(worker)


def _check_log(runtime: Runtime) -> None:
    """Check that work can be found and recorded: a worker that drains would wait for that for ever.

    Raises:
        LogUnavailable: the delivery log cannot be read or written.
    """
    check_writable(delivery_log_url(runtime.settings))
    runtime.history.backlog(now=runtime.clock())


def _check_options(loglevel: str, log_format: str) -> None:
    if loglevel.upper() not in LOG_LEVELS:
        raise UnknownName("log level", loglevel, LOG_LEVELS)
    require_choice(log_format, LOG_FORMATS, noun="log format")


def _configure_logging(loglevel: str, log_format: str) -> None:
    if log_format == "json":
        configure_json_logging(loglevel.upper())
        setup_logging.connect(_skip_celery_logging, weak=False)
    # This logger warns that memory:// names no host.
    logging.getLogger("kombu.connection").setLevel(logging.ERROR)


def _run(worker: Any) -> int:
    """Run a Celery worker to its end, and return the exit code."""
    shutdowns: list[str] = []

    def note_shutdown(how: str, **_: object) -> None:
        shutdowns.append(how)

    worker_shutting_down.connect(note_shutdown, weak=False)
    try:
        worker.start()
    finally:
        worker_shutting_down.disconnect(note_shutdown)
    return _exit_code(worker.exitcode, shutdowns)


def _queue_names(given: str | None) -> list[str]:
    """Return the names in a comma-separated list; Celery would keep blanks and empty names."""
    return [name.strip() for name in (given or "").split(",") if name.strip()]


def _default_queues(runtime: Runtime) -> list[str]:
    """Return the queues that a worker consumes by default, those of groups and of campaigns last."""
    own = [kind.queue for kind in runtime.catalog.custom_kinds.values() if kind.queue]
    return list(dict.fromkeys([*consumed_queues(runtime.app), *own, GROUPS_QUEUE, BULK_QUEUE]))


def _freeze_gc(**_: object) -> None:
    """Exclude existing objects from garbage collection, which would copy their pages in each child."""
    gc.freeze()


def _skip_celery_logging(**_: object) -> None:
    """Do nothing: Celery does not configure logging if a receiver is connected to its signal."""


def _exit_code(code: int | None, shutdowns: list[str]) -> int:
    """Return 0 after a warm shutdown, even if Ctrl-C requested it, which Celery reports as a failure."""
    if not shutdowns:
        return int(code or ExitCode.DONE)
    return ExitCode.DONE if shutdowns[-1] == "Warm" else ExitCode.INTERRUPTED


def _choose_pool(pool: str | None, *, is_private: bool) -> str:
    if pool is None:
        return "threads" if is_private else "prefork"
    return require_choice(pool, POOLS, noun="pool")
