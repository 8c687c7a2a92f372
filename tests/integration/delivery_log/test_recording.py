"""Emails are recorded, and published once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from mailctl.delivery_log.storage.engine import writing
from mailctl.domain.catalog import WELCOME
from mailctl.domain.factory import make_content, make_drafts, make_user
from mailctl.domain.request import EmailRequest
from mailctl.domain.states import State
from mailctl.errors import IdempotencyConflict
from tests.integration.delivery_log.conftest import START, Log


class TestRecording:
    def test_an_email_is_pending_and_sealed(self, log: Log) -> None:
        """Its address is a column; what it is made of cannot be read without the key."""
        email_id = log.add(email="zoe@example.com")
        [email] = log.history.find(email_id)
        assert (email.state, email.to, log.story(email_id)) == (State.PENDING, "zoe@example.com", ["pending"])
        with log.engine.connect() as connection:
            sealed = connection.exec_driver_sql("SELECT content FROM mailctl_emails").scalar()
        assert b"zoe" not in bytes(sealed)

    def test_a_prefix_of_the_id_finds_it(self, log: Log) -> None:
        """As with a commit of git."""
        email_id = log.add()
        assert [email.id for email in log.history.find(email_id[:8])] == [email_id]
        assert log.history.find("zzz") == []

    def test_a_short_id_is_as_long_as_it_has_to_be(self, log: Log) -> None:
        """It is no start of another id in the log, whether that is an id of ours or of another program."""
        ids = ["0f3a77c1-2222", "0f3a77c1-2d00", "0f3a77c1-9", "5b6d19e0-0000", "Job/1", "Job/10", "ünïque-1"]
        for each in ids:
            [draft] = log.drafts()
            log.outbox.add([replace(draft, id=each)], due_at=log.clock.now)
        short = log.history.short_ids([*ids, "elsewhere-on-the-broker"])
        assert list(short.values()) == [
            "0f3a77c1-22",
            "0f3a77c1-2d",
            "0f3a77c1-9",
            "5b6d19e0",
            "Job/1",
            "Job/10",
            "ünïque-1",
            "elsewhere-on-the-broker",
        ]
        for each in ids:
            assert [email.id for email in log.history.find(short[each])] == [each]

    def test_a_key_is_one_email(self, log: Log) -> None:
        """The second call gets the first id, and the log one row."""
        first = log.add(key="order-1")
        assert log.add(key="order-1") == first
        assert log.history.count_by_state() == {State.PENDING: 1}

    def test_a_call_that_waits_for_another_transaction_holds_up_no_other(self, log: Log) -> None:
        """Such as one with a key that the service has used in a transaction which it has not ended yet."""
        if log.engine.dialect.name == "sqlite":
            pytest.skip("SQLite has one writer at a time")
        waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND database IS NULL")
        with ThreadPoolExecutor(2) as executor:
            with writing(log.engine) as connection:
                drafts = log.drafts(key="order-1")
                first = log.outbox.add_in_transaction(connection, drafts, due_at=log.clock.now).id
                waiting = executor.submit(log.add, key="order-1")
                while not connection.execute(waits).scalar():
                    pass
                assert executor.submit(log.add, email="b@example.com").result(30)
                assert not waiting.done()
            assert waiting.result(30) == first

    def test_a_key_is_forgotten_after_its_window(self, log: Log) -> None:
        """A day here; then it stands for a new email."""
        first = log.add(key="order-1")
        log.clock.forward(days=1, seconds=1)
        assert log.add(key="order-1") != first

    def test_a_key_with_other_content_is_refused(self, log: Log) -> None:
        """It would be a mistake to send either."""
        log.add(key="order-1")
        with pytest.raises(IdempotencyConflict):
            log.add(key="order-1", email="b@example.com")

    def test_many_callers_with_one_key_record_one_email(self, log: Log) -> None:
        """They wait for each other; all get the same id."""
        together = threading.Barrier(16)

        def add(_: int) -> str:
            together.wait()
            return log.add(key="order-1")

        with ThreadPoolExecutor(16) as callers:
            ids = set(callers.map(add, range(16)))
        assert (len(ids), log.history.count_by_state()) == (1, {State.PENDING: 1})

    def test_a_message_of_another_program_is_adopted_once(self, log: Log) -> None:
        """Redelivered, it finds its row."""
        drafts = log.drafts()
        log.outbox.record_from_message(drafts)
        log.outbox.record_from_message(drafts)
        assert log.story(drafts[0].id) == ["queued"]

    def test_a_message_that_can_never_be_an_email_is_failed(self, log: Log) -> None:
        """With its reason."""
        [draft] = log.drafts()
        log.outbox.record_failed_message(draft, reason="no recipient")
        [email] = log.history.find(draft.id)
        assert (email.state, email.error) == (State.FAILED, "no recipient")


class TestPublishing:
    def test_a_due_email_is_reserved_by_one_relay(self, log: Log) -> None:
        """Another gets it only after some seconds, should the first have died."""
        email_id = log.add()
        assert [email.id for email in log.publications.reserve_due(limit=10)] == [email_id]
        assert log.publications.reserve_due(limit=10) == []
        log.clock.forward(seconds=6)
        assert len(log.publications.reserve_due(limit=10)) == 1

    def test_relays_share_what_is_due(self, log: Log) -> None:
        """Each email goes to one of them, none to nobody."""
        ids = {log.add() for _ in range(40)}
        with ThreadPoolExecutor(4) as relays:
            shares = list(relays.map(lambda _: log.publications.reserve_due(limit=20), range(4)))
        reserved = [email.id for share in shares for email in share]
        assert len(reserved) == len(set(reserved))
        log.clock.forward(seconds=6)
        reserved += [
            email.id for email in log.publications.reserve_due(limit=100) if email.id not in reserved
        ]
        assert set(reserved) == ids

    def test_a_scheduled_email_is_not_due(self, log: Log) -> None:
        """Until its time comes; and nobody may claim it either."""
        [draft] = make_drafts(
            EmailRequest(kind=WELCOME, not_before=START + timedelta(hours=1)),
            [make_content(WELCOME, make_user(email="a@example.com"), origins=frozenset())],
            queue="celery",
            now=START,
        )
        log.outbox.add([draft], due_at=START)
        assert log.publications.reserve_due(limit=1) == []
        assert log.claim(draft.id, worker="w") is None
        log.clock.forward(hours=1)
        assert log.claim(draft.id, worker="w") is not None
