"""The identity of a process, as heartbeats carry it."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from mailctl.delivery_log.heartbeats import WorkerRegistry
from mailctl.delivery_log.process_identity import ProcessIdentity, identify_process
from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.tables import log as log_table
from mailctl.settings import Settings
from tests.unit.delivery_log.conftest import KEYRING
from tests.workers import IDENTITY, worker

if TYPE_CHECKING:
    from tests.unit.delivery_log.conftest import Log


def test_a_heartbeat_carries_the_identity(log: Log) -> None:
    """With the skew of the clock, which is none where the database has the clock of the host."""
    workers = WorkerRegistry(log.engine, clock=log.time)
    workers.record_heartbeat(worker(host="another-host", identity=IDENTITY))
    [found] = workers.list_alive()
    assert (found.identity, found.clock_skew) == (IDENTITY, 0.0)


@pytest.mark.parametrize("stored", [{}, {"version": "9"}, [], {**IDENTITY.to_json(), "more": 1}])
def test_what_another_version_has_written_is_not_known(stored: object) -> None:
    """It is no error."""
    assert ProcessIdentity.from_json(stored) is None


SENDING = Settings(email_enabled=True, email_host="smtp", email_port=587, email_from_name="Shop")


def test_the_log_has_an_id(log: Log) -> None:
    """None if it was made without migrations."""
    assert identify_process(log.engine, KEYRING, Settings()).log_id is None
    with writing(log.engine) as connection:
        connection.execute(log_table.insert().values(id="abc"))
    found = identify_process(log.engine, KEYRING, SENDING)
    assert (found.log_id, found.version, found.mail_server) == ("abc", version("mailctl"), "smtp:587")
    assert found.keys == KEYRING.fingerprints()
    assert set(found.settings) == {"EMAIL_FROM_NAME"}
    assert ProcessIdentity.from_json(found.to_json()) == found
