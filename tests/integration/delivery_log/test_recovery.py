"""What workers and brokers have left behind is recovered, and what has ended is deleted."""

from __future__ import annotations

from mailctl.delivery_log.retention import PrunableCounts, Retention
from mailctl.domain.catalog import RESET
from mailctl.domain.reason_codes import Reason, ReasonCode
from mailctl.domain.states import State
from tests.integration.delivery_log.conftest import START, Log


class TestMending:
    def test_a_dead_workers_email_may_be_held(self, log: Log) -> None:
        """Where a second copy is worse than none."""
        email_id = log.queue()
        log.claim(email_id, worker="w")
        log.clock.forward(seconds=61)
        log.recovery.release_stale(max_resends=0)
        assert log.state(email_id) is State.HELD

    def test_what_the_broker_lost_goes_back(self, log: Log) -> None:
        """First in, first out: only the last ones can still be there."""
        ids = []
        for _ in range(5):
            ids.append(log.queue())
            log.clock.forward(seconds=1)
        assert log.recovery.return_lost(queue="celery", queued_before=log.clock.now, on_broker=2) == 3
        assert [log.state(email_id) for email_id in ids] == [State.PENDING] * 3 + [State.QUEUED] * 2

    def test_what_was_published_just_now_is_not_lost(self, log: Log) -> None:
        """It takes a moment from the broker to a claim."""
        log.queue()
        assert log.recovery.return_lost(queue="celery", queued_before=START, on_broker=0) == 0

    def test_what_a_gone_worker_held_in_memory_goes_back(self, log: Log) -> None:
        """A memory broker dies with its process."""
        email_id = log.add()
        log.publications.mark_queued([email_id], worker_id="gone")
        assert log.recovery.return_orphans(alive=["gone"]) == 0
        assert log.recovery.return_orphans(alive=["other"]) == 1
        assert log.state(email_id) is State.PENDING

    def test_a_reset_that_is_too_old_expires(self, log: Log) -> None:
        """A dead link helps nobody, and the log says why."""
        email_id = log.add(RESET)
        log.clock.forward(hours=1)
        assert log.recovery.expire() == 1
        [email] = log.history.find(email_id)
        assert (email.state, email.reason_code) == (State.EXPIRED, ReasonCode.EXPIRED)


class TestForgetting:
    def test_contents_first_then_the_row(self, log: Log) -> None:
        """Finished emails only; what still has to go out stays, however old."""
        failed, waiting = log.queue(), log.add()
        claim = log.claim(failed, worker="w")
        assert claim is not None
        log.results.finish(claim, State.FAILED, reason=Reason(code=ReasonCode.REFUSED, text="refused"))
        retention = Retention(log.engine)
        end = log.clock.forward(days=100)
        found = retention.count(contents_before=end, emails_before=START)
        assert found == PrunableCounts(contents=1, emails=0, link_uses=0)
        assert list(retention.prune(contents_before=end, emails_before=START)) == [1]
        assert (log.state(failed), log.outbox.content(failed)) == (State.FAILED, None)
        assert list(retention.prune(contents_before=end, emails_before=end)) == [1]
        assert (log.history.find(failed), log.story(failed)) == ([], [])
        assert log.outbox.content(waiting) is not None
