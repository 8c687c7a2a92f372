"""The circuit of a mail server, which all workers share."""

from __future__ import annotations

from datetime import timedelta

from tests.integration.delivery_log.conftest import START, Log


class TestCircuit:
    def test_it_opens_probes_and_closes(self, log: Log) -> None:
        """Three failures of the server; then one try at a time, at growing distances, until one works."""
        circuits = log.circuits
        assert circuits.read() is None
        opened = [circuits.record_failure("connection refused").is_open for _ in range(3)]
        assert opened == [False, False, True]
        assert not circuits.acquire_probe()
        log.clock.forward(seconds=11)
        assert circuits.acquire_probe()
        assert not circuits.acquire_probe()
        circuits.record_success()
        assert circuits.read() is None

    def test_a_message_that_overtakes_the_note_of_it_is_kept_back_too(self, log: Log) -> None:
        """A worker may be faster than the publisher, whose note comes late then."""
        email_id, until = log.add(), START + timedelta(seconds=10)
        log.circuits.record_failure("connection refused", opens_at_once=True)
        assert log.circuits.postpone_email(email_id, until=until, reason="connection refused")
        assert log.publications.mark_queued([email_id]) == 0
        assert log.claim(email_id, worker="w") is None
        log.clock.forward(seconds=10)
        assert [email.id for email in log.publications.reserve_due(limit=1)] == [email_id]

    def test_a_scheduled_email_keeps_its_time(self, log: Log) -> None:
        """Though its message has come too early, while the server does not work."""
        [draft] = log.drafts(not_before=START + timedelta(hours=1))
        log.outbox.add([draft], due_at=START)
        log.circuits.record_failure("connection refused", opens_at_once=True)
        assert not log.circuits.postpone_email(draft.id, until=START, reason="connection refused")
        log.circuits.record_success()
        assert log.claim(draft.id, worker="w") is None
