"""The recorder at the signals of Celery and at calls of tasks: what it records, and what it lets run."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery, signals
from celery.app.trace import build_tracer
from celery.exceptions import Reject, Retry, TimeLimitExceeded, WorkerLostError
from celery.local import maybe_evaluate

from mailctl import record_tasks, runtime
from mailctl.celery_app import create_celery_app, has_recorder
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import State
from mailctl.recorder import writer
from mailctl.recorder.writer import log_writer
from mailctl.settings import Settings
from tests.recorded_app import define_send, recorded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from celery import Task

    from mailctl.domain.models import Email

LOST = WorkerLostError("Worker exited prematurely: signal 9")


def deliver(task: Task, *args: Any, retries: int = 0, redelivered: bool = False) -> str:
    """Let a worker execute the message `m1` of a task, as Celery does; return the Celery state."""
    task.app.finalize()
    request = {
        "id": "m1",
        "task": task.name,
        "hostname": "celery@web",
        "retries": retries,
        "delivery_info": {"routing_key": "shop", "redelivered": redelivered},
    }
    states: list[str] = []

    def note_state(state: str, **_: object) -> None:
        states.append(state)

    signals.task_postrun.connect(note_state)
    build_tracer(task.name, task, app=task.app)("m1", args, {}, request)
    signals.task_postrun.disconnect(note_state)
    return states[-1]


def define_other(app: Celery) -> Task:
    """Define a task of the service that sends no email."""

    def other() -> None:
        pass

    return maybe_evaluate(app.task(name="shop.other", shared=False)(other))


def the_email() -> Email:
    """Return the only email of the log."""
    [found] = recorded()
    return found


def queue(app: Celery) -> tuple[Task, SimpleNamespace]:
    """Define the task, and put its message `m1` on the broker; return the task, and the request of `m1`."""
    task = define_send(app)
    task.apply_async(("zoe@example.com",), task_id="m1")
    writer.flush()
    runtime.current().publications.mark_queued(["m1"], is_own_task=True)
    return task, SimpleNamespace(id="m1")


def test_emails_are_recorded_in_the_order_of_the_calls(make_app: Callable[..., Celery]) -> None:
    """By one thread."""
    send = define_send(make_app())
    ids = [send.delay(f"user{number}@example.com").id for number in range(30)]
    assert [email.id for email in recorded()] == ids


def test_a_memory_broker_leaves_publishing_to_a_relay(make_app: Callable[..., Celery]) -> None:
    """No other process sees the message."""
    send = define_send(make_app())
    send.delay("zoe@example.com")
    assert [(email.state, email.is_own_task) for email in recorded()] == [(State.PENDING, True)]


@pytest.mark.parametrize("protocol", [1, 2])
def test_both_protocols_are_recorded(protocol: int, make_app: Callable[..., Celery]) -> None:
    """By position as well, as the task is known here."""
    app = make_app()
    app.conf.task_protocol = protocol
    send = define_send(app)
    send.apply_async(("zoe@example.com", 7), countdown=60)
    [email] = recorded()
    assert (email.to, email.user_id, email.not_before is not None) == ("zoe@example.com", "7", True)


def test_a_task_that_is_defined_elsewhere_is_recorded_if_it_is_mapped(
    make_app: Callable[..., Celery],
) -> None:
    """A web process may publish by name; a name of the wire could be mailctl's, so the worker records it."""
    app = make_app()
    app.send_task("shop.send", kwargs={"to": "zoe@example.com"})
    app.send_task("send_welcome_email_task", kwargs={"user_data": {"email": "bob@example.com"}})
    app.send_task("shop.other", kwargs={"to": "eve@example.com"})
    assert [email.to for email in recorded()] == ["zoe@example.com"]


def test_a_mapping_that_cannot_be_used_stops_nothing(
    make_app: Callable[..., Celery], caplog: pytest.LogCaptureFixture
) -> None:
    """The tasks of the wire are still recorded."""
    app = make_app(mailctl_tasks="nowhere_to_be_found:TASKS")

    def welcome(user_data: object) -> None:
        raise AssertionError("no worker runs here")

    with warnings.catch_warnings():  # mailctl's task of this name may be a shared one of this process
        warnings.simplefilter("ignore")
        maybe_evaluate(app.task(welcome, name="send_welcome_email_task", shared=False))
        app.finalize()
    app.tasks["send_welcome_email_task"].delay({"email": "zoe@example.com"})
    assert [email.kind for email in recorded()] == ["welcome"]
    assert "MAILCTL_TASKS nowhere_to_be_found:TASKS cannot be imported" in caplog.text


def test_a_direct_call_and_an_eager_one_just_run(make_app: Callable[..., Celery]) -> None:
    """There is no message, so nothing is recorded."""
    send = define_send(make_app())
    assert send("zoe@example.com") == send.run("zoe@example.com") == "zoe@example.com"
    assert send.apply(("zoe@example.com",)).get() == "zoe@example.com"
    assert recorded() == []


def test_tasks_may_be_defined_at_any_time(make_app: Callable[..., Celery]) -> None:
    """Before the app is complete, after it, and as a class; each claims before it runs."""
    app = make_app()
    early = define_send(app)
    app.finalize()
    assert early.run.mailctl_claims
    other = make_app()
    other.finalize()
    late = define_send(other)
    record_tasks(other)
    other.mailctl_recorder._on_tasks_defined()  # as a worker does when it starts
    assert late.run.mailctl_claims
    complete = Celery("shop", broker="memory://", set_as_current=False)
    before = define_send(complete)
    complete.finalize()
    record_tasks(complete, settings=Settings(mailctl_tasks="recorder_shop:TASKS"))
    assert before.run.mailctl_claims


def test_tasks_that_given_settings_name_claim_at_once(make_app: Callable[..., Celery]) -> None:
    """Also if the app was complete before, and recorded with other settings."""
    app = make_app(mailctl_tasks="")
    task = define_send(app)
    app.finalize()
    assert not hasattr(task.run, "mailctl_claims")
    record_tasks(app, settings=Settings(mailctl_tasks="recorder_shop:TASKS"))
    assert task.run.mailctl_claims


def test_recording_twice_is_recording_once(make_app: Callable[..., Celery]) -> None:
    """A service may call it in several modules."""
    app = make_app()
    record_tasks(app)
    send = define_send(app)
    send.delay("zoe@example.com")
    assert (has_recorder(app), len(recorded())) == (True, 1)


def test_the_recorders_of_two_apps_do_not_replace_each_other(make_app: Callable[..., Celery]) -> None:
    """Before Celery 5.7, a signal takes their methods for one."""
    make_app(mailctl_tasks="")
    define_send(make_app()).delay("zoe@example.com")
    assert len(recorded()) == 1


def test_a_message_of_mailctls_own_is_left_alone(make_app: Callable[..., Celery]) -> None:
    """The delivery log has the email already."""
    define_send(make_app()).apply_async(("zoe@example.com",), headers={"mailctl": {"id": "m1"}})
    assert recorded() == []


def test_mailctls_own_app_has_no_recorder(tmp_path: Path) -> None:
    """Its tasks write to the log themselves."""
    app = create_celery_app(Settings(mailctl_home=tmp_path))
    record_tasks(app)
    assert not has_recorder(app)


def test_given_settings_replace_earlier_ones(make_app: Callable[..., Celery]) -> None:
    """A service may read its own after it has called `record_tasks`."""
    app = make_app(mailctl_tasks="")
    send = define_send(app)
    send.delay("zoe@example.com")
    record_tasks(app, settings=Settings(mailctl_tasks="recorder_shop:TASKS"))
    send.delay("bob@example.com")
    assert [email.to for email in recorded()] == ["bob@example.com"]


def test_an_error_of_the_recorder_does_not_reach_the_service(
    make_app: Callable[..., Celery], caplog: pytest.LogCaptureFixture
) -> None:
    """Such as of a module of kinds that cannot be imported."""
    send = define_send(make_app(mailctl_catalog="nowhere_to_be_found"))
    assert send.delay("zoe@example.com").id
    assert "the recorder failed: ConfigurationError" in caplog.text


def test_a_worker_claims_the_email_and_records_the_end(make_app: Callable[..., Celery]) -> None:
    """With its name, and by what the task returned."""

    def send(to: str) -> bool:
        return False

    task = define_send(make_app(), send)
    assert deliver(task, "zoe@example.com") == "SUCCESS"
    email = the_email()
    assert (email.state, email.reason_code) == (State.FAILED, ReasonCode.OWN_TASK_FAILED)
    assert (email.worker, email.queue, email.attempts) == ("celery@web", "shop", 1)


def test_a_message_that_comes_twice_is_run_once(make_app: Callable[..., Celery]) -> None:
    """Celery acknowledges the second, and stores no result."""
    called: list[str] = []

    def send(to: str) -> None:
        called.append(to)

    task = define_send(make_app(), send)
    assert [deliver(task, "zoe@example.com") for _ in range(2)] == ["SUCCESS", "IGNORED"]
    assert called == ["zoe@example.com"]


def test_a_task_may_call_itself(make_app: Callable[..., Celery]) -> None:
    """The inner call has no message: it is part of the run that has claimed the email."""
    app = make_app()
    called: list[str] = []

    def send(to: str) -> None:
        called.append(to)
        if len(called) == 1:
            app.tasks["shop.send"].run("bob@example.com")

    deliver(define_send(app, send), "zoe@example.com")
    assert called == ["zoe@example.com", "bob@example.com"]
    assert the_email().attempts == 1


def test_a_task_that_retries_is_run_again(make_app: Callable[..., Celery]) -> None:
    """The message that it publishes has the id of the run, and is no new call."""
    app = make_app()

    def send(self: Task, to: str) -> None:
        if not self.request.retries:
            raise self.retry(countdown=1)

    task = define_send(app, send, bind=True)
    assert deliver(task, "zoe@example.com") == "RETRY"
    email = the_email()
    assert (email.state, email.not_before is not None) == (State.DEFERRED, True)
    assert deliver(task, "zoe@example.com", retries=1) == "SUCCESS"
    assert (the_email().state, the_email().attempts) == (State.UNCONFIRMED, 2)


def test_a_task_that_replaces_itself_leaves_its_email_to_the_other(make_app: Callable[..., Celery]) -> None:
    """The message of the other task has the same id: the email is not finished when it comes."""
    app = make_app()

    def welcome(user_data: dict[str, str]) -> None:
        pass

    def send(self: Task, to: str) -> None:
        self.replace(other.si({"email": to}))

    other = maybe_evaluate(app.task(name="send_welcome_email_task", shared=False)(welcome))
    assert deliver(define_send(app, send, bind=True), "zoe@example.com") == "IGNORED"
    assert the_email().state is State.DEFERRED
    assert deliver(other, {"email": "zoe@example.com"}) == "SUCCESS"
    assert (the_email().state, the_email().attempts) == (State.UNCONFIRMED, 2)


@pytest.mark.parametrize(("retries", "state"), [(0, "IGNORED"), (1, "SUCCESS")])
def test_a_retry_runs_although_the_earlier_run_was_not_recorded(
    retries: int, state: str, make_app: Callable[..., Celery]
) -> None:
    """Celery publishes a retry only when its run has ended; any other second message waits for the claim."""
    app = make_app()
    found: list[str] = []

    def send(to: str) -> None:
        if not found:
            found.append("")
            found[0] = deliver(app.tasks["shop.send"], to, retries=retries)

    deliver(define_send(app, send), "zoe@example.com")
    assert found == [state]


@pytest.mark.parametrize(("redelivered", "state"), [(False, "SUCCESS"), (True, "IGNORED")])
def test_a_held_email_is_sent_only_by_its_first_delivery(
    redelivered: bool, state: str, make_app: Callable[..., Celery]
) -> None:
    """A worker that had the message before may have run the task."""
    task, _ = queue(make_app())
    runtime.current().own_task_emails.hold_unknown(["m1"], why="its message is gone")
    assert deliver(task, "zoe@example.com", redelivered=redelivered) == state


@pytest.mark.parametrize(("requeue", "state"), [(True, State.DEFERRED), (False, State.FAILED)])
def test_a_rejected_message_comes_again_only_if_it_is_requeued(
    requeue: bool, state: State, make_app: Callable[..., Celery]
) -> None:
    """`Reject` without requeue discards it."""

    def send(to: str) -> None:
        raise Reject("not now", requeue=requeue)

    assert deliver(define_send(make_app(), send), "zoe@example.com") == "REJECTED"
    assert the_email().state is state


def test_a_spawned_process_claims_for_tasks_that_it_has_defined_late(make_app: Callable[..., Celery]) -> None:
    """Celery has made a tracer of their old `run`; others keep theirs."""
    app = make_app()
    app.finalize()
    task = define_send(app)
    other = define_other(app)
    for each in (task, other):
        each.__trace__ = build_tracer(each.name, each, app=app)
    before = other.__trace__
    signals.worker_process_init.send(sender=None)
    task.__trace__("m1", ("zoe@example.com",), {}, {"id": "m1"})
    assert the_email().state is State.UNCONFIRMED
    assert other.__trace__ is before


@pytest.mark.parametrize(
    ("options", "state", "reason"),
    [
        ({"terminated": True}, State.HELD, ReasonCode.OWN_TASK_UNKNOWN),
        ({"expired": True}, State.EXPIRED, ReasonCode.EXPIRED),
        ({}, State.CANCELLED, ReasonCode.STOPPED),
    ],
)
def test_a_revoked_message_is_recorded(
    options: dict[str, bool], state: State, reason: ReasonCode, make_app: Callable[..., Celery]
) -> None:
    """A task that was terminated may have sent the email before."""
    task, request = queue(make_app())
    signals.task_revoked.send(sender=task, request=request, **options)
    assert (the_email().state, the_email().reason_code) == (state, reason)


@pytest.mark.parametrize("error", [LOST, TimeLimitExceeded(60)])
@pytest.mark.parametrize("is_retried", [False, True])
def test_an_email_whose_pool_process_died_is_held(
    is_retried: bool, error: Exception, make_app: Callable[..., Celery]
) -> None:
    """Whether Celery gives the task up or delivers the message again."""
    task, request = queue(make_app())
    if is_retried:
        signals.task_retry.send(sender=task, request=request, reason=Retry(exc=error))
    else:
        signals.task_failure.send(sender=task, task_id="m1", exception=error)
    assert (the_email().state, the_email().reason_code) == (State.HELD, ReasonCode.OWN_TASK_UNKNOWN)


def test_an_exception_of_the_task_is_no_death_of_its_process(make_app: Callable[..., Celery]) -> None:
    """The process that ran it records the end itself."""
    task, request = queue(make_app())
    signals.task_failure.send(sender=task, task_id="m1", exception=ValueError())
    signals.task_retry.send(sender=task, request=request, reason=Retry(exc=ValueError()))
    assert the_email().state is State.QUEUED


def test_other_tasks_of_the_service_are_no_business_of_the_recorder(make_app: Callable[..., Celery]) -> None:
    """Their messages may have an id that an email has, too."""
    app = make_app()
    _, request = queue(app)
    other = define_other(app)
    signals.task_failure.send(sender=other, task_id="m1", exception=LOST)
    signals.task_revoked.send(sender=other, request=request)
    assert the_email().state is State.QUEUED


def test_a_worker_that_shuts_down_has_written_everything(make_app: Callable[..., Celery]) -> None:
    """Pool processes are killed right after it."""
    make_app()
    written: list[int] = []
    log_writer().put(lambda _: written.append(1))
    signals.worker_process_shutdown.send(sender=None)
    assert written == [1]
