"""Starting a worker: a real Celery worker of the app, with the pool that suits its broker."""

from __future__ import annotations

import gc
import logging
import os
from typing import TYPE_CHECKING

import billiard.pool
from celery.signals import setup_logging, worker_before_create_process, worker_shutting_down
from celery.utils.nodenames import host_format

from mailctl.broker.inspector import BrokerInspector
from mailctl.celery_app import consumed_queues, has_memory_broker
from mailctl.delivery_log.storage.engine import create_log
from mailctl.errors import ExitCode, InvalidInput
from mailctl.json_logging import LOG_FORMATS, configure_json_logging
from mailctl.settings import BULK_QUEUE
from mailctl.worker.shared_queues import log_foreign_messages

if TYPE_CHECKING:
    from mailctl.runtime import Runtime
    from mailctl.worker.foreign.requeuer import RequeueSchedule

POOLS = ("prefork", "threads", "solo")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
#: Tenths of a second for which a pool process that ends waits for its parent to read its last result. With
#: billiard's 300 an orderly end takes 30 s if the parent has stopped reading; the log knows the outcome.
_EXIT_WAIT_TENTHS = 10
#: Threads of one process mostly wait for the mail server.
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
    """Work until a signal, or with `drain` until nothing is left to do.

    Args:
        concurrency: emails at the same time; None means one per core, or a few threads.
        pool: prefork, threads or solo; None takes threads for a memory broker, which is private to its
            process, and prefork for any other.
        queues: comma-separated; None takes those of the app and of kinds of the service's own, and that of
            campaigns.
        log_format: text as Celery's, or json: one object a line.
        hostname: the Celery node name, in which %h, %n and %d stand for parts of the host's name.
        has_color: whether banner and log may have colours on a terminal.
        drop_foreign: delete messages for tasks that the app does not have, instead of putting them back.
        foreign_schedule: when they are put back; None for the usual times.

    Returns:
        The exit code: 0 after an orderly end, 130 when a second signal cut it short.

    Raises:
        InvalidInput: an option is not usable.
        ConfigurationError: the service's own kinds cannot be loaded.
        BrokerUnavailable: the broker does not answer, and there is nothing to wait for (`drain`).
    """
    runtime.check_message_settings()
    app = runtime.app
    pool = _choose_pool(pool, is_private=has_memory_broker(app))
    if loglevel.upper() not in LOG_LEVELS:
        raise InvalidInput("--loglevel", f"{loglevel!r} is not a level.", fix=f"Use {', '.join(LOG_LEVELS)}.")
    if log_format not in LOG_FORMATS:
        raise InvalidInput("--log-format", f"{log_format!r} is none.", fix=f"Use {', '.join(LOG_FORMATS)}.")
    if log_format == "json":
        configure_json_logging(loglevel.upper())
        setup_logging.connect(_skip_celery_logging, weak=False)
    if drain:
        BrokerInspector(app).ping()
    # At DEBUG Celery prints whole messages here, links and all.
    logging.getLogger("celery.concurrency.base").setLevel(logging.INFO)
    billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = _EXIT_WAIT_TENTHS
    # It warns that memory:// names no host.
    logging.getLogger("kombu.connection").setLevel(logging.ERROR)
    # Asked for in any case: a worker that cannot load the kinds had better not start.
    default_queues = ",".join(_default_queues(runtime))
    create_log(runtime.engine)
    worker = app.Worker(
        hostname=host_format(hostname) if hostname else None,
        pool_cls=pool,
        loglevel=loglevel.upper(),
        concurrency=concurrency or (_DEFAULT_THREADS if pool == "threads" else os.cpu_count()),
        queues=queues or default_queues,
        without_gossip=True,
        without_mingle=True,
        drain=drain,
        no_color=None if has_color else True,
        drop_foreign=drop_foreign,
        foreign_schedule=foreign_schedule,
        # Its banner is no JSON.
        quiet=log_format == "json",
    )
    log_foreign_messages(app, list((queues or default_queues).split(",")))
    worker_before_create_process.connect(_freeze_gc, weak=False)
    endings: list[str] = []

    def note_ending(how: str, **_: object) -> None:
        endings.append(how)

    worker_shutting_down.connect(note_ending, weak=False)
    try:
        worker.start()
    finally:
        worker_shutting_down.disconnect(note_ending)
    return _exit_code(worker.exitcode, endings)


def _default_queues(runtime: Runtime) -> list[str]:
    """Return what a worker consumes unless it is told: campaigns come last."""
    own = [kind.queue for kind in runtime.catalog.custom_kinds.values() if kind.queue]
    return list(dict.fromkeys([*consumed_queues(runtime.app), *own, BULK_QUEUE]))


def _freeze_gc(**_: object) -> None:
    """Leave what is there at a fork out of the search for garbage: it would copy its pages in each child."""
    gc.freeze()


def _skip_celery_logging(**_: object) -> None:
    """Celery sets up no log of its own where somebody is connected to that signal."""


def _exit_code(code: int | None, endings: list[str]) -> int:
    """Return 0 after an orderly end, which Celery calls a failure when Ctrl-C asked for it."""
    if not endings:
        return int(code or ExitCode.DONE)
    return ExitCode.DONE if endings[-1] == "Warm" else ExitCode.INTERRUPTED


def _choose_pool(pool: str | None, *, is_private: bool) -> str:
    if pool is None:
        return "threads" if is_private else "prefork"
    if pool not in POOLS:
        raise InvalidInput("--pool", f"{pool!r} is not a pool.", fix=f"Use {', '.join(POOLS)}.")
    return pool
