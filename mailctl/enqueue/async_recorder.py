"""Recording what coroutines ask for: one thread records together what came while it was recording."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

from mailctl.delivery_log.shared_transactions import MOST_CALLS, SharedCall, too_late
from mailctl.delivery_log.storage.time_limit import remaining_seconds
from mailctl.errors import LogUnavailable
from mailctl.security.address_masking import masking_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailctl.delivery_log.outbox import NewEmails, RecordResult
    from mailctl.domain.models import Content
    from mailctl.domain.request import EmailRequest
    from mailctl.enqueue.enqueuer import Enqueuer, EnqueueResult, Recording
    from mailctl.runtime import Runtime

_log = masking_logger("mailctl.service")

#: Calls that wait for other transactions at the same time: so many that connections are left for the others.
_MOST_ALONE = 6
#: Seconds of a time limit in which a transaction cannot be expected to end.
_TOO_SHORT_SECONDS = 0.25


class AsyncRecorder:
    """Records emails for coroutines, of any event loop, in few transactions.

    While one transaction is written, others ask; the next one records all of them. A thread for each call
    would take longer than recording it.

    Args:
        parts: the runtime of this process.
        enqueuer: makes the emails.
        on_recorded: called with each result, in a thread, before its coroutine goes on.
        on_unclaimed: called if nobody waits for a result any more.
    """

    def __init__(
        self,
        parts: Runtime,
        enqueuer: Enqueuer,
        *,
        on_recorded: Callable[[EnqueueResult], None],
        on_unclaimed: Callable[[], None],
    ) -> None:
        self._runtime = parts
        self._enqueuer = enqueuer
        self._on_recorded = on_recorded
        self._on_unclaimed = on_unclaimed
        self._together = ThreadPoolExecutor(1, thread_name_prefix="mailctl-recording")
        self._alone = ThreadPoolExecutor(_MOST_ALONE, thread_name_prefix="mailctl-recording-alone")
        self._lock = threading.Lock()
        self._waiting: deque[_Call] = deque()
        #: Whether a thread records what waits.
        self._is_recording = False

    def record(self, request: EmailRequest, contents: Sequence[Content]) -> asyncio.Future[str]:
        """Record the emails of one request for the running event loop.

        They are recorded even if the future is cancelled meanwhile. The time limit of the caller applies.

        Returns:
            A future of the id that `EmailService` returns, or of an error of `Enqueuer.record`.
        """
        call = _Call(request, contents)
        with self._lock:
            self._waiting.append(call)
            must_start, self._is_recording = not self._is_recording, True
        if must_start:
            self._start()
        return call.done

    def close(self) -> None:
        """Record what waits, and end the threads."""
        self._together.shutdown()
        self._alone.shutdown()

    def _start(self) -> None:
        try:
            self._together.submit(self._record_waiting)
        except RuntimeError:  # closed
            error = LogUnavailable(
                "this process has closed the delivery log.", fix="Send emails before `EmailService.close()`."
            )
            while calls := self._take():
                self._fail(calls, error)

    def _take(self) -> list[_Call]:
        """Take some calls that wait; if there are none, the next one starts a thread."""
        with self._lock:
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_CALLS))]
            self._is_recording = bool(taken)
            return taken

    def _record_waiting(self) -> None:
        while calls := self._take():
            try:
                self._record_together(calls)
            except Exception as error:
                self._fail(calls, error)
            else:
                self._deliver([call for call in calls if not call.is_alone])

    def _fail(self, calls: Sequence[_Call], error: Exception) -> None:
        for call in calls:
            call.fail(error)
        self._deliver(calls)

    def _record_together(self, calls: Sequence[_Call]) -> None:
        for call in calls:
            call.begin(self._enqueuer)
        if shared := [call.shared for call in calls if call.shared is not None]:
            self._runtime.outbox.add_all(shared, durable=self._is_durable)
        for call in calls:
            if call.is_alone:
                self._start_alone(call)
            else:
                self._end(call)

    def _start_alone(self, call: _Call) -> None:
        try:
            self._alone.submit(self._record_alone, call)
        except RuntimeError:  # closed meanwhile
            self._record_alone(call)

    def _record_alone(self, call: _Call) -> None:
        assert call.shared is not None
        try:
            call.require_time()
            self._runtime.outbox.add_alone(call.shared, durable=self._is_durable)
            self._end(call)
        except Exception as error:
            call.fail(error)
        self._deliver([call])

    def _end(self, call: _Call) -> None:
        if call.shared is None or (result := call.end()) is None:
            return
        try:
            self._on_recorded(result)
        except Exception as error:  # what is recorded has not failed, and a relay publishes it
            _log.error("email %s is not published yet (%s)", result.ids[0], type(error).__name__)

    def _deliver(self, calls: Sequence[_Call]) -> None:
        """Let coroutines go on: all that wait in one event loop together."""
        for loop in {call.loop for call in calls}:
            mine = [call for call in calls if call.loop is loop]
            try:
                loop.call_soon_threadsafe(self._deliver_here, mine)
            except RuntimeError:  # the event loop is closed
                self._on_unclaimed()

    def _deliver_here(self, calls: Sequence[_Call]) -> None:
        are_claimed = [call.deliver() for call in calls]
        if not all(are_claimed):
            self._on_unclaimed()

    @property
    def _is_durable(self) -> bool:
        return self._runtime.settings.is_durable


class _Call:
    """One call of a coroutine, which waits for `done`."""

    def __init__(self, request: EmailRequest, contents: Sequence[Content]) -> None:
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[str] = self.loop.create_future()
        #: The emails, for a transaction with those of others; None if they cannot be made.
        self.shared: SharedCall[NewEmails, RecordResult] | None = None
        self._request, self._contents = request, contents
        #: That of the caller, with its time limit and its trace.
        self._context = contextvars.copy_context()
        self._block = ExitStack()
        self._recording: Recording | None = None
        self._id = ""
        self._error: Exception | None = None

    @property
    def is_alone(self) -> bool:
        """Whether it is recorded in a transaction without others."""
        return self.shared is not None and self.shared.is_alone

    def begin(self, enqueuer: Enqueuer) -> None:
        """Make the emails."""
        try:
            self.require_time()
            self._context.run(self._begin, enqueuer)
        except Exception as error:
            self.fail(error)

    def _begin(self, enqueuer: Enqueuer) -> None:
        self._recording = self._block.enter_context(enqueuer.recording(self._request, self._contents))
        self.shared = SharedCall(self._recording.new, order=self._recording.new.first_address)

    def require_time(self) -> None:
        """Raise `LogUnavailable` if the time limit of the caller leaves none for a transaction."""
        left = self._context.run(remaining_seconds)
        if left is not None and left < _TOO_SHORT_SECONDS:
            raise too_late()

    def end(self) -> EnqueueResult | None:
        """Return the result, once it is recorded; None after an error."""
        try:
            result = self._context.run(self._end)
        except Exception as error:
            self.fail(error)
            return None
        self._id = result.ids[0]
        return result

    def _end(self) -> EnqueueResult:
        assert self.shared is not None
        assert self._recording is not None
        with self._block:
            return self._recording.end(self.shared.take_result())

    def fail(self, error: Exception) -> None:
        """Note an error, unless the emails are recorded, or there was another one."""
        self._error = self._error or error

    def deliver(self) -> bool:
        """Let the coroutine go on; return whether it was waiting."""
        if self.done.done():
            return False
        if self._error is not None and not self._id:
            self.done.set_exception(self._error)
        else:
            self.done.set_result(self._id)
        return True
