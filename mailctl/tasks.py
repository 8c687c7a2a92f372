"""The Celery tasks of mailctl; other programs rely on the names and the arguments of most of them.

Once this module is imported, every Celery app of the process has them, unless the service itself defines a
task of the same name.
"""

from __future__ import annotations

import inspect
import socket
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from celery.signals import (
    after_setup_logger,
    after_setup_task_logger,
    celeryd_init,
    worker_process_shutdown,
    worker_shutdown,
)

from mailctl.broker.messages import BATCH_TASK
from mailctl.broker.result_writer import store_results
from mailctl.broker.task_arguments import REFERENCE_ARGUMENT
from mailctl.domain import unicode_safety, validation
from mailctl.domain.catalog import CANARY, DELIVER_TASK, GENERIC, NEW_IP, RESET, VERIFICATION, WELCOME, Kind
from mailctl.domain.celery_states import CELERY_STATES
from mailctl.domain.states import State
from mailctl.errors import EmailFailed, InvalidInput
from mailctl.json_logging import escape_handlers
from mailctl.security.address_masking import masking_logger
from mailctl.settings import BULK_QUEUE
from mailctl.timefmt import pluralize
from mailctl.worker import message_validation
from mailctl.worker.delivery_options import DeliveryOptions, time_limit_of
from mailctl.worker.message_request import read_email_request
from mailctl.worker.private_request import PrivateTask
from mailctl.worker.requeue import is_not_of_requeued, requeue_if_log_unavailable
from mailctl.worker.soft_time_limit import current_limit, soft_time_limit_deferred
from mailctl.worker.task_registration import register_in_every_app

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Sequence

    from celery import Task

    from mailctl.domain.models import Json
    from mailctl.worker.outcome_recorder import DeliveryResult
    from mailctl.worker.process_state import ProcessState

_log = masking_logger("mailctl.tasks")
#: The length in characters to which a reason is cut: the author of the message may have chosen its text.
_MAX_REASON_LENGTH = 500
#: What nothing needs before the first email is sent. A worker imports them before its pool forks: the
#: processes share them, and begin their first email soon.
_DELIVERY_MODULES = (
    "cryptography.hazmat.primitives.ciphers.aead",
    "mailctl.rendering.composer",
    "mailctl.smtp.server_pools",
    "mailctl.worker.process_state",
)


class EmailDeferred(Exception):
    """The email is deferred; the delivery log has the time of the next attempt."""


class _WireTask(PrivateTask):
    """A task that fails cleanly if the arguments of its message are not usable."""

    abstract = True
    ignore_result = True
    throws: tuple[type[Exception], ...] = (EmailFailed,)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if reason := _rejection_reason(self, args, kwargs):
            raise EmailFailed(unicode_safety.escape_controls_as_line(reason[:_MAX_REASON_LENGTH]))
        try:
            with soft_time_limit_deferred():
                return self.run(*args, **kwargs)
        except InvalidInput as error:
            # Celery cannot pickle InvalidInput, and would log its whole traceback.
            raise EmailFailed(str(error)) from None


class _EmailTask(_WireTask):
    """A task that sends an email; unusable arguments are recorded as an email that failed.

    The broker delivers its message again if the worker process is killed.
    """

    abstract = True
    acks_late = True
    reject_on_worker_lost = True
    mailctl_kind: Kind

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if reason := _rejection_reason(self, args, kwargs):
            return _reject_message(self, self.mailctl_kind, _named(self.run, args, kwargs), reason)
        # Celery acknowledges a message whose task its time limit ends: the log must have the email by then.
        with soft_time_limit_deferred():
            return self.run(*args, **kwargs)


def _rejection_reason(task: Task, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Return why a task must reject its message; "" if it accepts the message."""
    if reason := getattr(task.request, message_validation.REFUSAL_HEADER, ""):
        return f"message: {reason}"
    try:
        inspect.signature(task.run).bind(*args, **kwargs)
    except TypeError as error:
        return f"message: {error}; {task.name} takes {', '.join(_parameters(task.run))}."
    return ""


def _named(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Json]:
    """Return the arguments of a task by name, although they do not fit it."""
    names = [name for name in _parameters(function) if name != "self"]
    return {**dict(zip(names, args, strict=False)), **kwargs}


def _parameters(function: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != REFERENCE_ARGUMENT]


def _task(name: str, *, base: type[Task], **attributes: Any) -> Callable[[Callable[..., Any]], Task]:
    """Return a decorator that registers a function as a task of every Celery app."""
    return partial(register_in_every_app, name=name, base=base, bind=True, **attributes)


def _email_task(kind: Kind) -> Callable[[Callable[..., Any]], Task]:
    """Return a decorator that registers a function as the task of a kind of email."""
    return _task(kind.task, base=_EmailTask, mailctl_kind=kind)


@_email_task(GENERIC)
def send_email_task(
    self: Task,
    subject: Json = None,
    recipients: Json = None,
    template_name: Json = None,
    context: Json = None,
    *,
    email_id: Json = None,
) -> str:
    """Send a generic email, with its own subject and template, to each recipient."""
    arguments = {
        "subject": subject,
        "recipients": recipients,
        "template_name": template_name,
        "context": context,
    }
    return _deliver(self, GENERIC, arguments, email_id)


@_email_task(WELCOME)
def send_welcome_email_task(self: Task, user_data: Json = None, *, email_id: Json = None) -> str:
    """Send a welcome email to a new user."""
    return _deliver(self, WELCOME, {"user_data": user_data}, email_id)


@_email_task(RESET)
def send_password_reset_email_task(
    self: Task, user_data: Json = None, reset_url: Json = None, *, email_id: Json = None
) -> str:
    """Send a password-reset link to a user."""
    return _deliver(self, RESET, {"user_data": user_data, "reset_url": reset_url}, email_id)


@_email_task(VERIFICATION)
def send_verification_email_task(
    self: Task, user_data: Json = None, verification_url: Json = None, *, email_id: Json = None
) -> str:
    """Send a user a link that confirms the email address."""
    return _deliver(
        self, VERIFICATION, {"user_data": user_data, "verification_url": verification_url}, email_id
    )


@_email_task(NEW_IP)
def send_new_ip_notification_task(
    self: Task,
    user_data: Json = None,
    ip_address: Json = None,
    whitelist_url: Json = None,
    blacklist_url: Json = None,
    *,
    email_id: Json = None,
) -> str:
    """Notify a user of a sign-in from a new IP address."""
    arguments = {
        "user_data": user_data,
        "ip_address": ip_address,
        "whitelist_url": whitelist_url,
        "blacklist_url": blacklist_url,
    }
    return _deliver(self, NEW_IP, arguments, email_id)


@_task(DELIVER_TASK, base=_EmailTask, mailctl_kind=GENERIC)
def deliver(self: Task, *, email_id: Json) -> str:
    """Send an email of a custom kind, which the delivery log has."""
    return _deliver(self, GENERIC, {}, email_id)


@_task(BATCH_TASK, base=_WireTask, acks_late=True, reject_on_worker_lost=True)
def deliver_batch(self: Task, ids: Json = None) -> str:
    """Send a batch of emails of a campaign, or a group of single emails, which the delivery log has."""
    if not isinstance(ids, list):
        raise InvalidInput("ids", "must be a list.")
    ids = [validation.validate_email_id(email_id, field="ids") for email_id in ids]
    with requeue_if_log_unavailable(pluralize(len(ids), "email")):
        started = _process_state().delivery.deliver_batch(
            ids, worker=_worker_name(self), options=_delivery_options(self)
        )
    return f"{started} of {len(ids)} started"


@_task(CANARY.task, base=_WireTask)
def canary(self: Task, to: Json = None, *, email_id: Json = None) -> str:
    """Test the path to the mail server up to RCPT, without sending an email.

    Args:
        to: the recipient, encrypted; None takes the sender address of the worker.
        email_id: the id of a canary that the delivery log has; None if the canary has no row.
    """
    from mailctl.worker.canary_responder import respond_to_canary, respond_to_logged_canary

    if email_id is not None:
        email_id = validation.validate_email_id(email_id, field=REFERENCE_ARGUMENT)
        with requeue_if_log_unavailable(f"canary {email_id}"):
            return respond_to_logged_canary(_process_state().runtime, email_id, worker=_worker_name(self))
    steps = respond_to_canary(_process_state().runtime, self.request.id, to)
    self.app.backend.store_result(
        self.request.id, {"worker": self.request.hostname, "steps": steps}, "SUCCESS"
    )
    return "answered"


def _deliver(task: Task, kind: Kind, arguments: dict[str, Json], email_id: Json) -> str:
    """Deliver the email of a message and store its Celery result.

    Args:
        arguments: the arguments of the kind's task, used if the message carries no reference.
        email_id: the reference to an email of the delivery log; None if the message holds the email in full.

    Returns:
        The state of the email, for the log of the worker.

    Raises:
        EmailFailed: the email will not be sent.
        Reject: the delivery log does not answer; the message returns to the broker.
    """
    if email_id is not None:
        try:
            email_id = validation.validate_email_id(email_id, field=REFERENCE_ARGUMENT)
        except InvalidInput as error:
            return _reject_message(task, kind, arguments, str(error))
    task_id, worker = task.request.id, _worker_name(task)
    with requeue_if_log_unavailable(f"email {email_id or task_id!a}"):
        delivery, options = _process_state().delivery, _delivery_options(task)
        if email_id is not None:
            report = delivery.deliver(email_id, worker=worker, options=options)
        else:
            report = delivery.deliver_message(
                task_id,
                read_email_request(task.request, kind),
                arguments,
                queue=_queue_of(task),
                worker=worker,
                options=options,
            )
    return _finish(task, report)


def _reject_message(task: Task, kind: Kind, arguments: dict[str, Json], reason: str) -> str:
    """Record a message that can never become an email, and fail its task.

    Raises:
        EmailFailed: always, once the message is recorded.
        Reject: the delivery log does not answer; the message returns to the broker.
    """
    with requeue_if_log_unavailable(f"email {task.request.id!a}"):
        report = _process_state().delivery.record_invalid_message(
            task.request.id, kind, arguments, queue=_queue_of(task), reason=reason
        )
    return _finish(task, report)


def _process_state() -> ProcessState:
    from mailctl.worker import process_state  # a service that only publishes runs no task

    return process_state.current()


def _worker_name(task: Task) -> str:
    return task.request.hostname or socket.gethostname()


def _queue_of(task: Task) -> str:
    return (task.request.delivery_info or {}).get("routing_key") or str(task.app.conf.task_default_queue)


def _delivery_options(task: Task) -> DeliveryOptions:
    """Return how the emails of a message are sent; the Celery results of single emails are stored."""
    seconds, limit, queue = time_limit_of(task), current_limit(), _queue_of(task)
    return DeliveryOptions(
        is_campaign=queue == BULK_QUEUE,
        queue=queue,
        seconds=seconds,
        on_recorded=partial(_store_results, task.app.backend),
        soft_limit=limit,
    )


def _finish(task: Task, report: DeliveryResult) -> str:
    # Celery would store the return value as a success, and so replace the result that has the outcome.
    task.request.ignore_result = True
    if report.state not in (None, State.SENDING):
        _store_result(task, report)
    if report.state in (State.FAILED, State.EXPIRED):
        raise EmailFailed(report.text)
    return str(report.state or report.text)


def _store_result(task: Task, report: DeliveryResult) -> None:
    """Store the Celery result of an email for programs that read it; the delivery log is authoritative."""
    state, result = _celery_result(report)
    try:
        task.app.backend.store_result(report.email_id, result, state)
    except Exception as error:
        _log.warning("the Celery result of email %s is not stored: %s", report.email_id, type(error).__name__)


def _store_results(backend: Any, reports: Sequence[DeliveryResult]) -> None:
    """Store the Celery results of emails that were recorded together."""
    store_results(backend, [(each.email_id, *_celery_result(each)) for each in reports if each.state])


def _celery_result(report: DeliveryResult) -> tuple[str, object]:
    state = CELERY_STATES.get(report.state, "FAILURE") if report.state else "FAILURE"
    if state == "SUCCESS":
        return state, {REFERENCE_ARGUMENT: report.email_id, "state": str(report.state)}
    return state, EmailDeferred(report.text) if state == "RETRY" else EmailFailed(report.text)


def _add_bootsteps(instance: Any, **_: object) -> None:
    """Add the relay, the message guards and the removal of timers to every worker that has these tasks."""
    from celery.app.trace import logger as trace_logger

    from mailctl.worker.bootsteps import RelayStep
    from mailctl.worker.cancelled_timers import CancelledTimerStep
    from mailctl.worker.consumer_guards import MessageGuardStep
    from mailctl.worker.foreign_messages.step import ForeignMessageStep
    from mailctl.worker.remote_control.guard import ControlGuard  # only a worker needs what they import

    for module in _DELIVERY_MODULES:
        import_module(module)
    trace_logger.addFilter(is_not_of_requeued)
    instance.app.steps["worker"].update((RelayStep, CancelledTimerStep))
    instance.app.steps["consumer"].update((MessageGuardStep, ForeignMessageStep, ControlGuard))


def _escape_control_characters(logger: logging.Logger, **_: object) -> None:
    escape_handlers(logger)


def _close(**_: object) -> None:
    from mailctl.worker import process_state

    process_state.close()


after_setup_logger.connect(_escape_control_characters)
after_setup_task_logger.connect(_escape_control_characters)
celeryd_init.connect(_add_bootsteps)
worker_process_shutdown.connect(_close)
worker_shutdown.connect(_close)


__all__ = [
    "EmailDeferred",
    "canary",
    "deliver",
    "deliver_batch",
    "send_email_task",
    "send_new_ip_notification_task",
    "send_password_reset_email_task",
    "send_verification_email_task",
    "send_welcome_email_task",
]
