"""The workers: how heartbeats in the log and answers on the broker are put together."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.broker.control import Node
from mailctl.errors import BrokerUnavailable, NotFound
from mailctl.monitoring.worker_signals import STOP_REQUESTED
from mailctl.monitoring.workers import PingResult, WorkerService
from mailctl.settings import Settings
from tests.emails import NOW
from tests.unit.worker.fakes import Calls, parts
from tests.workers import IDENTITY, worker

if TYPE_CHECKING:
    from sqlalchemy import Engine

WEB = worker()
OTHER = Node(name="celery@other", queues=("reports",), pid=8, pool="solo", concurrency=1, uptime_seconds=60)
DOWN = BrokerUnavailable("The broker does not answer.", fix="Start it.")


def node(name: str) -> Node:
    """Return a worker that answers on the broker."""
    return replace(OTHER, name=name)


class Site:
    """The service, where a test decides who has a heartbeat and who answers on the broker."""

    def __init__(
        self, engine: Engine, *alive: Any, control: Calls | None = None, silent: tuple[Any, ...] = ()
    ) -> None:
        self.runtime = parts(
            engine=engine,
            workers=Calls(list_alive=alive, list_silent=silent),
            settings=Settings(),
            identity=IDENTITY,
        )
        self.service = WorkerService(self.runtime)
        #: None where the broker is private to each process.
        self.service._control = control  # type: ignore[assignment]


class TestListing:
    def test_workers_of_the_log_come_first(self, empty_log: Engine) -> None:
        """Then those that only answer; each is listed once."""
        control = Calls(nodes={"celery@other": OTHER, "celery@web": node("celery@web")})
        found = Site(empty_log, WEB, control=control).service.list_workers()
        assert [each.name for each in found.workers] == ["celery@web", "celery@other"]
        assert [each.shares_log for each in found.workers] == [True, False]
        assert [each.answer for each in found.workers] == [PingResult.ANSWERED] * 2
        assert found.broker_error is None

    def test_what_is_unknown_of_a_worker_without_a_heartbeat_is_none(self, empty_log: Engine) -> None:
        """Such as how many emails it sends."""
        [found] = Site(empty_log, control=Calls(nodes={"celery@other": OTHER})).service.list_workers().workers
        assert (found.host, found.busy, found.throughput) == (None, None, None)
        assert (found.pid, found.queues, found.can_be_stopped) == (8, ("reports",), True)
        assert found.since is not None

    def test_a_worker_that_does_not_answer_is_listed(self, empty_log: Engine) -> None:
        """It may be too busy; it cannot be stopped from here."""
        [found] = Site(empty_log, WEB, control=Calls(nodes={})).service.list_workers().workers
        assert (found.answer, found.can_be_stopped, found.busy) == (PingResult.NO_ANSWER, False, 0)

    def test_without_the_broker_the_log_is_all_that_is_known(self, empty_log: Engine) -> None:
        """The error is part of the list."""
        found = Site(empty_log, WEB, control=Calls(nodes=DOWN)).service.list_workers()
        assert [each.answer for each in found.workers] == [PingResult.NOT_ASKED]
        assert found.broker_error is DOWN

    def test_the_dead_are_listed_the_latest_first(self, empty_log: Engine) -> None:
        """With when they were last seen, and what they held."""
        earlier = worker(name="earlier", id="w0", seen_at=NOW - timedelta(minutes=5))
        found = Site(empty_log, control=Calls(nodes={}), silent=(earlier, WEB)).service.list_workers()
        assert [(each.name, each.seen_at, each.held) for each in found.dead] == [
            ("celery@web", NOW, 0),
            ("earlier", NOW - timedelta(minutes=5), 0),
        ]
        assert found.workers == ()

    def test_with_a_private_broker_nobody_is_asked(self, empty_log: Engine) -> None:
        """A worker of another host cannot be stopped from here."""
        [found] = Site(empty_log, WEB).service.list_workers().workers
        assert (found.answer, found.can_be_stopped) == (PingResult.NOT_ASKED, False)

    def test_what_is_wrong_with_a_worker_stands_beside_it(self, empty_log: Engine) -> None:
        """And what is wrong with this process beside all of them."""
        same = replace(WEB, id="w2", name="celery@b", identity=IDENTITY)
        other = replace(WEB, identity=replace(IDENTITY, keys=("bbb",)), clock_skew=60.0)
        found = Site(empty_log, other, same).service.list_workers()
        first, second = found.workers
        assert (first.name, len(first.problems), second.problems) == ("celery@web", 2, ())
        assert (found.problems, second.identity, first.clock_skew) == ((), IDENTITY, 60.0)
        alone = Site(empty_log, other).service.list_workers()
        assert alone.problems[0].startswith("the SECRET_KEY of this process differs")


class TestPinging:
    def test_each_worker_has_a_result(self, empty_log: Engine) -> None:
        """Those with a heartbeat, then those that answer, by their names."""
        answered = frozenset({"celery@b", "celery@a"})
        result = Site(empty_log, WEB, control=Calls(ping=answered)).service.ping()
        assert list(result.items()) == [
            ("celery@web", PingResult.NO_ANSWER),
            ("celery@a", PingResult.ANSWERED),
            ("celery@b", PingResult.ANSWERED),
        ]

    def test_only_named_workers_are_pinged(self, empty_log: Engine) -> None:
        """Others that answer do not matter."""
        control = Calls(ping=frozenset({"celery@web", "celery@a"}))
        assert Site(empty_log, WEB, control=control).service.ping(["celery@web"]) == {
            "celery@web": PingResult.ANSWERED
        }
        assert control.calls == [("ping", (["celery@web"],), {})]

    @pytest.mark.parametrize("names", [(), ("celery@gone",)])
    def test_a_worker_that_nobody_knows_is_not_found(self, empty_log: Engine, names: tuple[str, ...]) -> None:
        """Neither are any if there are none."""
        with pytest.raises(NotFound):
            Site(empty_log, control=Calls(ping=frozenset())).service.ping(names)

    def test_with_a_private_broker_the_next_heartbeat_is_the_answer(self, empty_log: Engine) -> None:
        """Workers of other names are not waited for."""
        site = Site(empty_log)
        fresh = replace(WEB, seen_at=NOW + timedelta(seconds=1))
        site.runtime.workers = Calls(list_alive=[[WEB, worker(id="w2", name="celery@b")], [fresh]])
        assert site.service.ping(["celery@web"]) == {"celery@web": PingResult.ANSWERED}

    @pytest.mark.parametrize(("alive", "names"), [((), ()), ((WEB,), ("celery@gone",))])
    def test_with_a_private_broker_only_the_log_knows_workers(
        self, empty_log: Engine, alive: tuple[Any, ...], names: tuple[str, ...]
    ) -> None:
        """Nobody is waited for."""
        with pytest.raises(NotFound):
            Site(empty_log, *alive).service.ping(names)


class TestStopping:
    def test_only_workers_that_answer_are_asked(self, empty_log: Engine) -> None:
        """The others are reported."""
        control = Calls(ping=frozenset({"celery@a"}))
        results = Site(empty_log, WEB, control=control).service.stop(["celery@web", "celery@a"])
        assert [(each.name, each.is_requested, each.detail) for each in results] == [
            ("celery@web", False, "no answer"),
            ("celery@a", True, STOP_REQUESTED),
        ]
        assert control.calls[-1] == ("stop", (["celery@a"],), {})

    def test_nobody_is_asked_if_nobody_answers(self, empty_log: Engine) -> None:
        """An empty list of names would mean all."""
        control = Calls(ping=frozenset())
        [result] = Site(empty_log, WEB, control=control).service.stop(["celery@web"])
        assert not result.is_requested
        assert control.names == ["ping"]

    def test_an_unknown_worker_stops_no_other(self, empty_log: Engine) -> None:
        """All names are checked first."""
        control = Calls(ping=frozenset({"celery@a"}))
        with pytest.raises(NotFound, match="'celery@gone' has no heartbeat"):
            Site(empty_log, control=control).service.stop(["celery@a", "celery@gone"])
        assert control.names == ["ping"]

    def test_with_a_private_broker_a_signal_stops_workers_of_this_host(self, empty_log: Engine) -> None:
        """Those of others are left alone."""
        [result] = Site(empty_log, WEB).service.stop(["celery@web"])
        assert (result.is_requested, result.detail) == (False, "it runs on host web; stop process 7 there")
