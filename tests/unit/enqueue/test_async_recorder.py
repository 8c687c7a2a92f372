"""What coroutines record: together with what came meanwhile, each with its own result."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.delivery_log.storage.time_limit import remaining_seconds, time_limit
from mailctl.domain.catalog import WELCOME
from mailctl.domain.models import User
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.async_recorder import AsyncRecorder
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.errors import IdempotencyConflict, InvalidInput, LogUnavailable
from mailctl.runtime import Runtime
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from mailctl.enqueue.enqueuer import EnqueueResult

PATIENCE = 60
PLAIN = EmailRequest(kind=WELCOME)


class Site:
    """A recorder on a log in SQLite, whose transactions wait until they may begin."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.enqueuer = Enqueuer(runtime)
        self.recorded: list[EnqueueResult] = []
        self.is_unclaimed = threading.Event()
        self.recorder = AsyncRecorder(
            runtime, self.enqueuer, on_recorded=self.recorded.append, on_unclaimed=self.is_unclaimed.set
        )
        self.has_begun, self.may_go_on = threading.Event(), threading.Event()
        self.is_left_alone = threading.Event()
        #: How many calls each transaction had.
        self.counts: list[int] = []
        #: What each transaction does with its calls first.
        self.on_calls: Callable[[Sequence[Any]], object] = lambda calls: None
        self._add_all = runtime.outbox.add_all
        runtime.outbox.add_all = self.add_all  # type: ignore[method-assign]

    def add_all(self, calls: Sequence[Any], *, durable: bool) -> None:
        self.counts.append(len(calls))
        self.has_begun.set()
        assert self.may_go_on.wait(PATIENCE)
        self.on_calls(calls)
        if waiting := [call for call in calls if not call.is_alone]:
            self._add_all(waiting, durable=durable)

    async def record(self, address: str, request: EmailRequest = PLAIN) -> str:
        """Record an email."""
        content = self.enqueuer.make_content(request, User(email=address))
        return await self.recorder.record(request, [content])

    async def record_behind(
        self, *requests: EmailRequest, meanwhile: Callable[[], object] = lambda: None
    ) -> list[Any]:
        """Record emails that come while another one is recorded; return their results and errors."""
        first = asyncio.create_task(self.record("first@example.com"))
        await asyncio.to_thread(self.has_begun.wait, PATIENCE)
        calls = [
            asyncio.create_task(self.record(f"user{number}@example.com", request))
            for number, request in enumerate(requests)
        ]
        await asyncio.sleep(0)
        meanwhile()
        self.may_go_on.set()
        await first
        return await asyncio.gather(*calls, return_exceptions=True)

    def known(self, ids: Sequence[str]) -> int:
        """Return how many of some emails are in the log."""
        return len(self.runtime.history.emails(ids))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A recorder on a new log."""
    with closing(Runtime(Settings(mailctl_home=tmp_path), access_mode=AccessMode.CREATE)) as runtime:
        site = Site(runtime)
        yield site
        site.may_go_on.set()
        site.recorder.close()


def test_what_comes_while_another_call_is_recorded_is_recorded_together(site: Site) -> None:
    """By one thread, in one transaction; each call gets its own id when its email is in the log."""
    ids = asyncio.run(site.record_behind(*[PLAIN] * 20))
    assert site.counts == [1, 20]
    assert (len(set(ids)), site.known(ids)) == (20, 20)
    assert sorted(result.ids[0] for result in site.recorded[1:]) == sorted(ids)


def test_a_call_alone_is_recorded_at_once(site: Site) -> None:
    """One after the other has a transaction each."""
    site.may_go_on.set()
    for _ in range(2):
        assert site.known([asyncio.run(site.record("zoe@example.com"))]) == 1
    assert site.counts == [1, 1]


def test_each_call_has_its_own_error(site: Site) -> None:
    """Whether its emails cannot be made, or cannot be recorded; the others are recorded."""
    impossible = EmailRequest(kind=WELCOME, idempotency_key="x" * 1000)
    once = EmailRequest(kind=WELCOME, idempotency_key="once")
    results = asyncio.run(site.record_behind(PLAIN, impossible, once, once, PLAIN))
    # Those with the same key have other recipients.
    kinds = [type(result) for result in results]
    assert kinds[:2] == [str, InvalidInput]
    assert sorted(kinds[2:4], key=str) == sorted([str, IdempotencyConflict], key=str)
    assert kinds[4] is str
    assert site.known([result for result in results if isinstance(result, str)]) == 3


def test_an_unexpected_error_reaches_all_callers(site: Site) -> None:
    """And later calls are recorded."""

    def fail(calls: Sequence[Any]) -> None:
        if len(calls) > 1:
            raise KeyError

    site.on_calls = fail
    results = asyncio.run(site.record_behind(PLAIN, PLAIN))
    assert [type(result) for result in results] == [KeyError, KeyError]
    assert site.known([asyncio.run(site.record("zoe@example.com"))]) == 1


def test_a_call_that_waits_for_another_transaction_holds_up_nobody(site: Site) -> None:
    """It has a thread and a transaction of its own."""
    may_end = threading.Event()
    add_alone = site.runtime.outbox.add_alone

    def add_later(call: Any, *, durable: bool) -> None:
        site.is_left_alone.set()
        assert may_end.wait(PATIENCE)
        add_alone(call, durable=durable)

    def leave_last_alone(calls: Sequence[Any]) -> None:
        calls[-1].is_alone = len(calls) > 1

    site.runtime.outbox.add_alone = add_later  # type: ignore[method-assign]
    site.on_calls = leave_last_alone

    async def record() -> list[str]:
        calls = asyncio.create_task(site.record_behind(PLAIN, PLAIN))
        await asyncio.to_thread(site.is_left_alone.wait, PATIENCE)
        await site.record("other@example.com")
        may_end.set()
        return await calls

    assert site.known(asyncio.run(record())) == 2
    assert [len(site.recorded), site.counts] == [4, [1, 2, 1]]


def test_what_a_cancelled_caller_asked_for_is_recorded(site: Site) -> None:
    """Nobody waits for the result, which somebody has to look at."""

    async def cancel() -> None:
        call = asyncio.create_task(site.record("zoe@example.com"))
        await asyncio.to_thread(site.has_begun.wait, PATIENCE)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        site.may_go_on.set()
        await asyncio.to_thread(site.is_unclaimed.wait, PATIENCE)

    asyncio.run(cancel())
    [result] = site.recorded
    assert site.known(result.ids) == 1


def test_an_event_loop_that_ends_leaves_its_calls_to_nobody(site: Site) -> None:
    """They are recorded after it is closed."""

    async def begin() -> None:
        call = asyncio.create_task(site.record("zoe@example.com"))
        await asyncio.to_thread(site.has_begun.wait, PATIENCE)
        call.cancel()

    asyncio.run(begin())
    site.may_go_on.set()
    assert site.is_unclaimed.wait(PATIENCE)
    assert site.known(site.recorded[0].ids) == 1


def test_several_event_loops_share_a_recorder(site: Site) -> None:
    """Each caller goes on in its own."""
    results: list[Any] = []

    def other_loop() -> None:
        results.append(asyncio.run(site.record("zoe@example.com")))

    thread = threading.Thread(target=other_loop)

    def start_and_wait() -> None:
        thread.start()
        while len(site.recorder._waiting) < 2:
            pass

    results += asyncio.run(site.record_behind(PLAIN, meanwhile=start_and_wait))
    thread.join(PATIENCE)
    assert (site.counts, site.known(results)) == ([1, 2], 2)


def test_the_time_limit_of_the_first_caller_applies(site: Site) -> None:
    """It has waited longest, so nobody waits longer than the own limit allows."""
    limits: list[float | None] = []
    site.on_calls = lambda calls: limits.append(calls[0].context.run(remaining_seconds))
    site.may_go_on.set()

    async def record() -> None:
        with time_limit(PATIENCE):
            await site.record("zoe@example.com")
        await site.record("zoe@example.com")

    asyncio.run(record())
    assert limits[0] is not None
    assert 0 < limits[0] <= PATIENCE
    assert limits[1] is None


def test_what_has_waited_too_long_is_not_tried_any_more(site: Site) -> None:
    """So a log that does not answer delays no caller by the limits of those before it."""

    async def record() -> list[Any]:
        with time_limit(0.0):
            late = asyncio.create_task(site.record("late@example.com"))
        return [*await asyncio.gather(late, return_exceptions=True), await site.record("zoe@example.com")]

    site.may_go_on.set()
    error, email_id = asyncio.run(record())
    assert isinstance(error, LogUnavailable)
    assert (site.counts, site.known([email_id])) == ([1], 1)


def test_what_is_recorded_has_not_failed(site: Site) -> None:
    """Whatever happens to one call afterwards: neither it nor those that were recorded with it."""

    def fail_once(result: EnqueueResult) -> None:
        site.recorded.append(result)
        if len(site.recorded) == 2:
            raise RuntimeError

    site.recorder._on_recorded = fail_once
    ids = asyncio.run(site.record_behind(PLAIN, PLAIN, PLAIN))
    assert site.known(ids) == 3


def test_closing_waits_for_what_was_asked_for(site: Site) -> None:
    """What is asked for later fails at once."""

    async def record() -> list[Any]:
        closing = threading.Thread(target=site.recorder.close)
        results = await site.record_behind(PLAIN, PLAIN, meanwhile=closing.start)
        await asyncio.to_thread(closing.join, PATIENCE)
        return [*results, *await asyncio.gather(site.record("zoe@example.com"), return_exceptions=True)]

    *ids, error = asyncio.run(record())
    assert site.known(ids) == 2
    assert isinstance(error, LogUnavailable)
