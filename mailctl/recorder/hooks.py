"""Connects the recorder to a Celery app: through Celery's signals, and by wrapping the `run` of its tasks."""

from __future__ import annotations

import inspect
import logging
import socket
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property, partial, wraps
from typing import TYPE_CHECKING, Any

from celery import signals, states
from celery._state import get_current_task
from celery.app.trace import build_tracer
from celery.exceptions import Terminated, TimeLimitExceeded, WorkerLostError
from celery.local import maybe_evaluate

from mailctl.celery_app import RECORDER_ATTRIBUTE, has_memory_broker, is_built_in_app, is_service_task
from mailctl.domain.catalog_loader import catalog_from_settings
from mailctl.domain.task_mapping import WIRE_TASKS, own_tasks_from_settings
from mailctl.errors import BrokerUnavailable, MailctlError
from mailctl.process.per_process import PerProcess
from mailctl.recorder.calls import drafts_of, make_call
from mailctl.recorder.messages import parse_time, read_message
from mailctl.recorder.publishing import PublishRecorder
from mailctl.recorder.writer import flush, log_writer
from mailctl.security.address_masking import masking_logger
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from celery import Celery, Task

    from mailctl.domain.catalog import Catalog, Kind
    from mailctl.domain.models import Draft
    from mailctl.domain.task_mapping import OwnTask
    from mailctl.recorder.messages import PublishedMessage
    from mailctl.recorder.runs import TaskRun
    from mailctl.recorder.task_watch import OwnTaskWatch
    from mailctl.runtime import Runtime

_log = masking_logger("mailctl.recorder")
#: The attribute of a task's request that holds its run.
_RUN_ATTRIBUTE = "mailctl_run"
#: The attribute that marks a wrapped `run`, which claims the emails before it calls the task.
_CLAIMING_ATTRIBUTE = "mailctl_claims"
#: Seconds between two checks for runs whose worker has disappeared.
_STALE_CHECK_SECONDS = 15.0
#: Errors that the main process of a worker reports when a pool process has died while it ran a task.
_PROCESS_LOST = (WorkerLostError, TimeLimitExceeded, Terminated)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def record_tasks(app: Celery, *, settings: Settings | None = None) -> None:
    """Record the emails of the service's own tasks in the delivery log, in every process that uses the app.

    Each call that the service publishes is recorded as one email for each recipient. A worker claims these
    emails before it runs the task, so that the task does not run again if its message is delivered twice. The
    function connects signals and opens no connection; a second call only replaces the settings, if it has
    any. Errors of the delivery log are logged and never raised in the service's code.

    Args:
        app: the service's Celery app.
        settings: the settings to use instead of the environment.
    """
    app = maybe_evaluate(app)
    if is_built_in_app(app):
        return
    recorder = getattr(app, RECORDER_ATTRIBUTE, None)
    if recorder is None:
        recorder = Recorder(app, settings)
        setattr(app, RECORDER_ATTRIBUTE, recorder)
        recorder.connect()
    elif settings is not None:
        recorder.use_settings(settings)


class Recorder:
    """The recorder of one Celery app.

    Args:
        app: the app of the service.
        settings: the settings to use instead of the environment.
    """

    def __init__(self, app: Celery, settings: Settings | None = None) -> None:
        self._app = app
        self._given_settings = settings
        self._publishing = PublishRecorder(app)
        self._watches: PerProcess[OwnTaskWatch] = PerProcess()

    def use_settings(self, settings: Settings) -> None:
        """Use these settings instead of the environment."""
        self._given_settings = settings
        for name in ("_settings", "_tasks", "_catalog"):
            self.__dict__.pop(name, None)
        self._wrap_defined_tasks()

    def connect(self) -> None:
        """Connect to Celery's signals, and wrap the tasks that are defined now or later."""
        self._app.on_after_finalize.connect(self._on_tasks_defined, weak=False)
        for signal, receiver in (
            (signals.worker_init, self._on_tasks_defined),
            (signals.worker_process_init, self._on_process_started),
            (signals.worker_ready, self._on_worker_ready),
            (signals.before_task_publish, self._on_publishing),
            (signals.after_task_publish, self._on_published),
            (signals.task_postrun, self._on_ended),
            (signals.task_failure, self._on_failure),
            (signals.task_retry, self._on_retry),
            (signals.task_revoked, self._on_revoked),
            (signals.worker_process_shutdown, self._on_shutdown),
            (signals.worker_shutdown, self._on_shutdown),
        ):
            # Before Celery 5.7, methods of the recorders of two apps count as the same receiver.
            uid = f"{receiver.__name__} of {id(self)}"
            signal.connect(receiver, weak=False, dispatch_uid=uid)
        self._wrap_defined_tasks()

    @cached_property
    def _settings(self) -> Settings:
        return self._given_settings or Settings.load()

    @cached_property
    def _tasks(self) -> Mapping[str, OwnTask]:
        try:
            return own_tasks_from_settings(self._settings)
        except MailctlError as error:
            _log.error("emails of the tasks in MAILCTL_TASKS are not recorded: %s", error.with_fix)
            return WIRE_TASKS

    @cached_property
    def _catalog(self) -> Catalog:
        return catalog_from_settings(self._settings)

    def _own_task(self, name: str | None) -> OwnTask | None:
        """Return a task whose emails are recorded; None for any other, such as mailctl's."""
        own = self._tasks.get(name or "")
        if own is None or is_service_task(self._app, own.name):
            return own
        # A process that only publishes need not define the task; one of the wire may be mailctl's, elsewhere.
        is_known_elsewhere = own.name not in self._app.tasks and own is not WIRE_TASKS.get(own.name)
        return own if is_known_elsewhere else None

    def _kind(self, own: OwnTask) -> Kind:
        return self._catalog.get_recorded(own.kind)

    def _wrap_defined_tasks(self) -> None:
        if self._app.finalized:  # otherwise a signal calls when it is
            self._on_tasks_defined()

    def _on_tasks_defined(self, **_: object) -> None:
        with _logging_errors():
            for name in self._tasks:
                task = self._app._tasks.get(name)
                if task is not None and is_service_task(self._app, name):
                    self._wrap_run(maybe_evaluate(task))

    def _on_process_started(self, sender: object = None, **_: object) -> None:
        """Wrap tasks that a spawned process defines late, and rebuild tracers, which hold the old `run`."""
        tracers = {name: task.run for name, task in self._app._tasks.items()}
        self._on_tasks_defined()
        for name, task in self._app._tasks.items():
            if task.run is not tracers[name] and task.__trace__ is not None:
                task.__trace__ = build_tracer(name, task, self._app.loader, sender, app=self._app)

    def _wrap_run(self, task: Task) -> None:
        """Wrap the `run` of a task so that a worker claims the emails first.

        A signal could not prevent the call: Celery ignores exceptions of its receivers.
        """
        run = task.run
        if getattr(run, _CLAIMING_ATTRIBUTE, False):
            return

        @wraps(run)
        def claiming_run(*args: Any, **kwargs: Any) -> Any:
            request = task.request
            is_of_worker = not request.called_directly and not request.is_eager
            if not is_of_worker or getattr(request, _RUN_ATTRIBUTE, None) is not None:
                return run(*args, **kwargs)
            return self._execute(task, partial(run, *args, **kwargs), args, kwargs)

        setattr(claiming_run, _CLAIMING_ATTRIBUTE, True)
        task.run = claiming_run

    def _execute(
        self, task: Task, run: Callable[[], Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        from mailctl.recorder import runs  # imports the SMTP libraries, which only a worker needs

        request = task.request
        return runs.execute(
            run,
            drafts=partial(self._drafts_of_request, task, args, kwargs),
            delivery=runs.MessageDelivery(
                worker=request.hostname or socket.gethostname(),
                retries=request.retries or 0,
                is_redelivered=bool((request.delivery_info or {}).get("redelivered")),
            ),
            on_claimed=partial(setattr, request, _RUN_ATTRIBUTE),
        )

    def _drafts_of_request(self, task: Task, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Draft]:
        own, request = self._tasks[task.name], task.request
        call = make_call(
            own,
            request.id,
            args,
            kwargs,
            parameters=_parameters(task),
            queue=str((request.delivery_info or {}).get("routing_key") or self._app.conf.task_default_queue),
            expires_at=parse_time(request.expires),
        )
        return drafts_of(call, self._kind(own), now=datetime.now(UTC)) if call else []

    def _on_publishing(
        self,
        sender: str | None = None,
        body: Any = None,
        headers: Mapping[str, Any] | None = None,
        routing_key: str | None = None,
        declare: Any = None,
        **_: object,
    ) -> None:
        with _logging_errors():
            if (own := self._own_task(sender)) is None:
                return
            message = read_message(body=body, headers=headers, routing_key=routing_key, declare=declare)
            if message is None:
                return
            if (run := _run_of(message.id)) is not None:
                from mailctl.recorder import runs

                runs.retry(run, until=message.eta)
            elif not message.is_from_mailctl:
                self._begin_publishing(own, message)

    def _begin_publishing(self, own: OwnTask, message: PublishedMessage) -> None:
        task = self._app.tasks.get(own.name)
        call = make_call(
            own,
            message.id,
            message.args,
            message.kwargs,
            parameters=_parameters(task) if task is not None else (),
            queue=message.queue,
            not_before=message.eta,
            expires_at=message.expires,
        )
        if call is not None:
            self._publishing.begin(call, self._kind(own))

    def _on_published(self, headers: Mapping[str, Any] | None = None, body: Any = None, **_: object) -> None:
        with _logging_errors():
            options = body if isinstance(body, dict) else headers or {}
            self._publishing.confirm(options.get("id"))

    def _on_ended(
        self, sender: Any = None, retval: Any = None, state: str | None = None, **_: object
    ) -> None:
        with _logging_errors():
            run = getattr(sender.request, _RUN_ATTRIBUTE, None)
            if run is None:
                return
            from mailctl.recorder import runs

            if state == states.REJECTED and getattr(retval, "requeue", False):
                runs.retry(run, until=None)
                state = states.RETRY
            runs.finish(run, state, retval, task=sender.name)

    def _on_failure(self, sender: Any = None, task_id: str = "", exception: Any = None, **_: object) -> None:
        if isinstance(exception, _PROCESS_LOST):
            self._mark_lost(getattr(sender, "name", None), task_id)

    def _on_retry(self, sender: Any = None, request: Any = None, reason: Any = None, **_: object) -> None:
        if isinstance(getattr(reason, "exc", None), _PROCESS_LOST):
            self._mark_lost(getattr(sender, "name", None), request.id)

    def _on_revoked(
        self,
        sender: Any = None,
        request: Any = None,
        *,
        terminated: bool = False,
        expired: bool = False,
        **_: object,
    ) -> None:
        name = getattr(sender, "name", None)
        if terminated:
            self._mark_lost(name, request.id)
        elif self._own_task(name) is not None:
            log_writer().put(partial(_end_revoked, request.id, has_expired=bool(expired)))

    def _mark_lost(self, name: str | None, task_id: str) -> None:
        """Record that a pool process died while it ran a task, without blocking the main process."""
        with _logging_errors():
            if self._own_task(name) is not None:
                log_writer().put(partial(_mark_lost, task_id))

    def _on_worker_ready(self, **_: object) -> None:
        with _logging_errors():
            log_writer().repeat(_hold_stale, every_seconds=_STALE_CHECK_SECONDS)
            if not has_memory_broker(self._app):
                log_writer().repeat(self._check_unfinished, every_seconds=_STALE_CHECK_SECONDS)

    def _check_unfinished(self, runtime: Runtime) -> None:
        """Hold emails whose messages are gone without a recorded outcome, as after the log was down."""
        watch = self._watches.get(lambda: self._make_watch(runtime))
        with suppress(BrokerUnavailable):  # not an error of the log; the next check may get an answer
            watch.check()

    def _make_watch(self, runtime: Runtime) -> OwnTaskWatch:
        from mailctl.broker.inspector import BrokerInspector
        from mailctl.recorder.task_watch import OwnTaskWatch

        return OwnTaskWatch(runtime, app=self._app, broker=BrokerInspector(self._app))

    def _on_shutdown(self, **_: object) -> None:
        with _logging_errors():
            flush()


@contextmanager
def _logging_errors() -> Iterator[None]:
    """Log an error in the block instead of raising it: the recorder must not disturb the service."""
    try:
        yield
    except Exception as error:
        _log.error("the recorder failed: %s", type(error).__name__, exc_info=_log.isEnabledFor(logging.DEBUG))


def _run_of(task_id: str) -> TaskRun | None:
    """Return the run of this thread that has a task id, if its task is retrying, or replacing itself."""
    task = get_current_task()
    request = None if task is None else task.request_stack.top
    return getattr(request, _RUN_ATTRIBUTE, None) if request and request.id == task_id else None


def _parameters(task: Task) -> tuple[str, ...]:
    parameters = inspect.signature(task.run).parameters.values()
    return tuple(each.name for each in parameters if each.kind in _POSITIONAL)


def _end_revoked(task_id: str, runtime: Runtime, *, has_expired: bool) -> None:
    runtime.own_task_claims.end_revoked(task_id, has_expired=has_expired)


def _mark_lost(task_id: str, runtime: Runtime) -> None:
    runtime.own_task_claims.mark_lost(task_id)


def _hold_stale(runtime: Runtime) -> None:
    runtime.own_task_claims.hold_stale()
