"""The relay: a thread of each worker that publishes due emails and recovers stuck ones.

Any number of relays may run on one delivery log: only one of them at a time reserves an email. Whatever error
ends the thread restarts it, a few times; then the worker ends.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from mailctl.broker.inspector import BrokerInspector
from mailctl.delivery_log.heartbeats import HEARTBEAT_SECONDS
from mailctl.delivery_log.storage.change_detector import ChangeDetector
from mailctl.enqueue.publisher import Publisher
from mailctl.errors import BrokerUnavailable, ExitCode, LogUnavailable, MailctlError
from mailctl.worker.consumer_watch import ConsumerWatch
from mailctl.worker.drain import DrainWatch
from mailctl.worker.due_emails import DueEmails
from mailctl.worker.log_backlog import LogBacklog
from mailctl.worker.log_watch import LogWatch
from mailctl.worker.new_email_watch import NewEmailWatch
from mailctl.worker.relay_clocks import IntervalTimer, SkewWatch
from mailctl.worker.restarts import RestartLimit, describe_failure
from mailctl.worker.stuck_emails import StuckEmails

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from mailctl.delivery_log.heartbeats import Worker
    from mailctl.runtime import Runtime
    from mailctl.worker.consumer_watch import CeleryConsumer

_log = logging.getLogger("mailctl.relay")

#: Seconds between two ticks at most, with a local log and with one on a server.
LOCAL_TICK_SECONDS = 0.2
SERVER_TICK_SECONDS = 1.0
#: How much longer the relay rests than it has worked after it was woken, while new emails come all the time.
_REST_FACTOR = 20
#: Seconds before the relay runs again after an unexpected error.
_RESTART_SECONDS = 1.0
#: Seconds after a failed tick for which nobody leaves new emails to the relay.
_DISTRUST_SECONDS = 10.0
#: Seconds between two recoveries of stuck emails.
RECOVERY_SECONDS = 1.0


class Relay:
    """Runs the relay thread in the main process of a worker.

    Args:
        runtime: the parts of this process.
        worker: the worker that the heartbeat reports as alive.
        consumer: the consumer that is restarted if it takes no messages; None to watch none.
        on_drained: called once with the exit code when no work is left, or when the log cannot be used; None
            to continue then.
        on_failed: called with the reason when the relay or the consumer fails again after too many restarts.
        is_busy: whether the worker is executing tasks.
        list_processes: returns the ids of the processes of the worker's pool.
        on_tick: called at the end of every tick.
    """

    def __init__(
        self,
        runtime: Runtime,
        worker: Worker,
        *,
        consumer: CeleryConsumer | None = None,
        on_drained: Callable[[ExitCode], None] | None = None,
        on_failed: Callable[[str], None] = lambda _: None,
        is_busy: Callable[[], bool] = lambda: False,
        list_processes: Callable[[], Collection[int]] = tuple,
        on_tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._runtime = runtime
        self._worker = worker
        self._on_failed = on_failed
        self._is_busy = is_busy
        self._list_processes = list_processes
        self._on_tick = on_tick
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mailctl-relay", daemon=True)
        self._is_signed_off = False
        self._restarts = RestartLimit()
        self._log_watch = LogWatch(runtime)
        self._broker = broker = BrokerInspector(runtime.app)
        self._drain_watch = on_drained and DrainWatch(
            runtime, broker=broker, queues=worker.queues, is_busy=is_busy, on_drained=on_drained
        )
        self._consumer_watch: ConsumerWatch | None = None
        if consumer is not None:
            self._consumer_watch = ConsumerWatch(runtime, consumer, broker=broker, on_failed=on_failed)
        self._make_parts()
        is_local = self._change_detector.is_sqlite
        self._tick_seconds = LOCAL_TICK_SECONDS if is_local else SERVER_TICK_SECONDS

    def _make_parts(self) -> None:
        """Make the parts that have a state, which an unexpected error may have left in disorder."""
        runtime, broker = self._runtime, self._broker
        self._publisher = Publisher(runtime, worker_id=self._worker.id)
        self._change_detector = ChangeDetector(runtime.engine)
        self._new_emails = NewEmailWatch(runtime.engine, stopped=self._stopped, has_new=self._has_new_emails)
        self._due_emails = DueEmails(
            runtime,
            publisher=self._publisher,
            broker=broker,
            backlog=LogBacklog(runtime),
            is_stopped=self._is_stopped,
        )
        self._stuck_emails = StuckEmails(
            runtime,
            broker=broker,
            worker_id=self._worker.id,
            is_busy=self._is_busy,
            list_processes=self._list_processes,
        )
        self._heartbeat_timer = IntervalTimer(HEARTBEAT_SECONDS)
        self._recovery_timer = IntervalTimer(RECOVERY_SECONDS)
        self._skew_watch = SkewWatch()
        self._logged_error: type[MailctlError] | None = None
        #: Whether new emails have ended the last rest.
        self._was_woken = False
        #: When a tick failed last.
        self._failed_at = -_DISTRUST_SECONDS

    def start(self) -> None:
        """Start the thread, which registers the worker as alive."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, which unregisters the worker, and wait for its end."""
        self._stopped.set()
        self._thread.join()

    @property
    def is_signed_off(self) -> bool:
        """Whether the delivery log knows that the worker has ended."""
        return self._is_signed_off

    def sign_off(self, parts: Runtime) -> None:
        """Unregister the worker, and return the messages that were in its memory.

        Args:
            parts: the runtime to use, as that of the relay may be closed.
        """
        try:
            parts.workers.unregister(self._worker.id)
            if self._broker.is_in_memory:
                others = [worker.id for worker in parts.workers.list_alive()]
                parts.recovery.return_orphans(alive=others)
            self._is_signed_off = True
        except LogUnavailable as error:
            _log.warning("cannot unregister the worker: %s", error)
        except Exception as error:
            _log.warning("cannot unregister the worker (%s)", describe_failure(error))

    @property
    def tick_seconds(self) -> float:
        """Seconds between two ticks at most.

        During a campaign the interval is short even with a log on a server: the batches on the broker may be
        sent in less than `SERVER_TICK_SECONDS`.
        """
        return LOCAL_TICK_SECONDS if self._due_emails.has_backlog else self._tick_seconds

    def _run(self) -> None:
        has_failed = False
        while not self._stopped.is_set():
            try:
                if has_failed:
                    self._make_parts()
                self._run_until_stopped()
            except BaseException as error:
                has_failed = True
                if not self._may_restart_after(error):
                    break
        self.sign_off(self._runtime)
        self._close_parts()

    def _may_restart_after(self, error: BaseException) -> bool:
        """Return whether the relay may run again after an unexpected error, with new parts."""
        what = f"the relay failed ({describe_failure(error)})"
        if not self._restarts.take():
            self._on_failed(f"{what} again, after it was restarted {self._restarts}")
            return False
        _log.error("%s; restarting it (%s)", what, self._restarts)
        self._close_parts()
        self._stopped.wait(_RESTART_SECONDS)
        return True

    def _run_until_stopped(self) -> None:
        while not self._stopped.is_set():
            started, published = time.monotonic(), self._publisher.published_count
            try:
                has_written = self._tick()
                # A tick proves that the broker is back if something was published, and that the log is if
                # something was written: one that is full can be read.
                works: dict[type[MailctlError], bool] = {
                    BrokerUnavailable: self._publisher.published_count > published,
                    LogUnavailable: has_written,
                }
                if has_written and self._drain_watch is not None:
                    self._drain_watch.note_works()
                if self._logged_error is None or works.get(self._logged_error, True):
                    self._log_change(None)
            except MailctlError as error:
                self._failed_at = time.monotonic()
                if isinstance(error, LogUnavailable):
                    self._stuck_emails.distrust_leases()
                self._log_change(error)
                if self._drain_watch is not None and isinstance(error, LogUnavailable):
                    self._drain_watch.note_outage()
            self._rest(worked_seconds=time.monotonic() - started)

    def _rest(self, *, worked_seconds: float) -> None:
        """Wait for the next tick, which comes early if there are new emails that are left to relays."""
        rest = self.tick_seconds
        # With a backlog there always are new ones. Those in memory nobody else publishes.
        if not self._due_emails.has_backlog or self._broker.is_in_memory:
            rest = min(rest, _REST_FACTOR * worked_seconds) if self._was_woken else 0.0
        self._was_woken = not self._stopped.wait(rest) and self._new_emails.wait(self.tick_seconds - rest)

    def _has_new_emails(self) -> bool:
        """Return whether emails are due that this process has not published, after a change of the log."""
        # Any change may be one that only this relay can act upon.
        if self._broker.is_in_memory:
            return True
        try:
            return self._due_emails.are_any_due()
        except LogUnavailable:
            return False

    def _tick(self) -> bool:
        """Do what is due; return whether a heartbeat was written."""
        is_heartbeat_due = self._heartbeat_timer.restart_if_due()
        if is_heartbeat_due:
            if self._log_watch.has_changed():
                self._worker = replace(self._worker, identity=self._runtime.identity)
                self._stuck_emails.distrust_leases()
                self._new_emails.close()
            self._worker = replace(self._worker, publishes_at_once=self._publishes_at_once())
            self._runtime.workers.record_heartbeat(self._worker)
            self._skew_watch.check(self._runtime.clock_skew_seconds)
        is_recovery_due = self._recovery_timer.restart_if_due()
        if is_recovery_due:
            self._stuck_emails.recover()
        if is_recovery_due or self._change_detector.may_have_changed():
            self._change_detector.mark_seen()
            self._due_emails.publish()
        if self._consumer_watch is not None:
            self._consumer_watch.check()
        if self._drain_watch is not None:
            self._drain_watch.check()
        self._on_tick()
        return is_heartbeat_due

    def _publishes_at_once(self) -> bool:
        """Return whether this relay publishes emails as soon as the processes could that record them."""
        if self._broker.is_in_memory or not self._new_emails.start():
            return False
        has_failed = time.monotonic() - self._failed_at < _DISTRUST_SECONDS
        return not has_failed and self._publisher.can_reach_broker()

    def _is_stopped(self) -> bool:
        # Asked after every few emails, also while a tick takes long.
        self._stuck_emails.note_awake()
        return self._stopped.is_set()

    def _close_parts(self) -> None:
        for part in (self._publisher, self._change_detector, self._new_emails):
            try:
                part.close()
            except Exception as error:
                _log.debug("the relay could not close a connection (%s)", describe_failure(error))

    def _log_change(self, error: MailctlError | None) -> None:
        """Log an error when it begins and when it ends, not at every tick."""
        error_type = type(error) if error else None
        if error_type and error_type is not self._logged_error:
            _log.error("%s", error.with_fix if error else "")
        elif self._logged_error and not error_type:
            _log.info("the relay works again")
        self._logged_error = error_type
