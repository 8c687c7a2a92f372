"""The relay ticks at an interval, and logs an outage once."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mailctl.delivery_log.due import BATCH_SIZE
from mailctl.domain.catalog import WELCOME
from mailctl.domain.models import Content, User
from mailctl.domain.recipient_list import RecipientRow
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.campaign import CampaignRecorder
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.runtime import Runtime
from mailctl.settings import BULK_QUEUE, Settings
from mailctl.worker.due_emails import MAX_BATCHES_ON_BROKER
from mailctl.worker.relay import LOCAL_TICK_SECONDS, SERVER_TICK_SECONDS, Relay
from tests import workers
from tests.servers import HangUpServer

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from mailctl.delivery_log.heartbeats import Worker

PATIENCE = 60


def worker() -> Worker:
    """Return the record of the worker for its heartbeat."""
    now = datetime.now(UTC)
    return workers.worker(now, pid=os.getpid(), queues=("celery", BULK_QUEUE))


def interval_after_a_tick(log: Runtime) -> float:
    """Return the interval of a relay after its first tick."""
    has_ticked = threading.Event()
    relay = Relay(log, worker(), on_tick=has_ticked.set)
    relay.start()
    assert has_ticked.wait(PATIENCE)
    relay.stop()
    return relay.tick_seconds


def test_a_campaign_shortens_the_interval_with_a_log_on_a_server(
    tmp_path: Path, redis_url: str, postgres_url: str
) -> None:
    """Its batches on the broker may be sent within a second."""
    settings = Settings(
        debug=False,
        redis_url=redis_url,
        secret_key="a-secret-key-of-the-service-that-is-long",
        frontend_url="https://shop.example",
        mailctl_home=tmp_path,
        mailctl_database_url=postgres_url,
    )
    with closing(Runtime(settings)) as log:
        assert interval_after_a_tick(log) == SERVER_TICK_SECONDS
        rows = [
            RecipientRow(line=number, email=f"user{number}@example.com")
            for number in range(BATCH_SIZE * (MAX_BATCHES_ON_BROKER + 5))
        ]
        for _ in CampaignRecorder(log, EmailRequest(campaign="spring", kind=WELCOME)).record(rows):
            pass
        assert interval_after_a_tick(log) == LOCAL_TICK_SECONDS


def test_an_outage_of_the_broker_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A tick without an attempt to publish does not count as a recovery."""
    caplog.set_level(logging.INFO, logger="mailctl.relay")
    with HangUpServer() as server:
        settings = Settings(
            debug=False,
            redis_url=f"redis://127.0.0.1:{server.port}/0",
            secret_key="a-secret-key-of-the-service-that-is-long",
            mailctl_home=tmp_path,
        )
        with closing(Runtime(settings)) as log:
            Enqueuer(log).record(EmailRequest(kind=WELCOME), [Content(user=User(email="zoe@example.com"))])
            relay = Relay(log, worker())
            relay.start()
            server.wait_for(3)
            relay.stop()
    lines = [record.getMessage() for record in caplog.records]
    assert len([line for line in lines if "does not answer" in line]) == 1
    assert [line for line in lines if "works again" in line] == []
