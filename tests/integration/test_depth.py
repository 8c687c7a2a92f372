"""The depth of a queue: commands, metrics and dashboard print the same number for the same log."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import insert

from mailctl import runtime, web
from mailctl.delivery_log.storage.engine import writing
from mailctl.delivery_log.storage.tables import emails
from mailctl.domain.reason_codes import ReasonCode
from mailctl.domain.states import FINAL_STATES, State
from mailctl.settings import Settings
from tests.web_server import serving
from tests.workers import worker

if TYPE_CHECKING:
    from pathlib import Path

    from mailctl.delivery_log.heartbeats import Worker
    from tests.integration.commands import Mailctl

NOW = datetime.now(UTC)
SOON, BEFORE = NOW + timedelta(hours=1), NOW - timedelta(minutes=1)
#: The emails of one queue: how many, and what their rows say.
DUE = [
    (1, {"state": State.PENDING}),
    (2, {"state": State.PENDING, "not_before": BEFORE}),
    (3, {"state": State.QUEUED, "queued_at": BEFORE}),
    (2, {"state": State.SENDING, "attempts": 1}),
]
NOT_DUE = [
    (4, {"state": State.PENDING, "not_before": SOON}),
    (2, {"state": State.PENDING, "not_before": SOON, "reason_code": ReasonCode.MAIL_SERVER_DOWN}),
    (3, {"state": State.DEFERRED, "not_before": SOON, "attempts": 1, "error": "451 later"}),
    (1, {"state": State.DEFERRED, "not_before": BEFORE, "attempts": 1, "error": "451 later"}),
    (2, {"state": State.HELD}),
]
FINAL = [(1, {"state": state}) for state in sorted(FINAL_STATES)]
EXPECTED = {"celery": 8, "mailctl.bulk": 2, "reports": 0}
UNFINISHED = 20 + 6


@pytest.fixture
def log(tmp_path: Path, mailctl: Mailctl) -> Settings:
    """A delivery log with emails in every state, and an idle worker on a queue without emails."""
    made = Settings(mailctl_home=tmp_path / ".mailctl")
    runtime.configure(made)
    parts = runtime.current()
    groups = [
        *(("celery", *each) for each in (*DUE, *NOT_DUE, *FINAL)),
        ("mailctl.bulk", 2, {"state": State.QUEUED, "campaign": "spring"}),
        ("mailctl.bulk", 4, {"state": State.DEFERRED, "campaign": "spring", "error": "451 later"}),
    ]
    rows = [(queue, values) for queue, count, values in groups for _ in range(count)]
    with writing(parts.engine) as connection:
        for number, (queue, values) in enumerate(rows):
            connection.execute(insert(emails), _row(number, queue) | values)
    parts.workers.record_heartbeat(_worker("reports"))
    runtime.close()
    return made


def _row(number: int, queue: str) -> dict[str, Any]:
    times = dict.fromkeys(("created_at", "updated_at", "due_at"), BEFORE)
    return {
        "id": f"email-{number}",
        "kind": "welcome",
        "queue": queue,
        "to_address": "zoe@example.com",
        "attempts": 0,
        **times,
    }


def _worker(queue: str) -> Worker:
    return worker(datetime.now(UTC) + timedelta(minutes=1), queues=(queue,))


def _depths(queues: list[dict[str, Any]]) -> dict[str, int]:
    return {queue["queue"]: queue["depth"] for queue in queues}


def _cells(text: str, *, column: int) -> dict[str, int]:
    """Return a column of a table on the terminal, by the name of the queue."""
    rows = (line.split() for line in text.splitlines())
    return {row[0]: int(row[column]) for row in rows if row and row[0] in EXPECTED}


def _html_cells(page: str) -> dict[str, int]:
    """Return the column "depth" of a page, by the name of the queue."""
    found = re.findall(r'<tr><td><a [^>]*>([^<]*)</a>.*?<td data-name="depth">(\d+)</td>', page)
    return {html.unescape(name): int(depth) for name, depth in found}


@pytest.mark.usefixtures("log")
class TestCommands:
    def test_json_has_the_depth(self, mailctl: Mailctl) -> None:
        """`queue list` and `top` agree; a queue without emails has a depth of 0."""
        assert _depths(mailctl("top", "--json").lines[0]["queues"]) == EXPECTED
        assert _depths(mailctl("queue", "list", "--json").lines) == EXPECTED

    def test_json_counts_the_rest_beside_it(self, mailctl: Mailctl) -> None:
        """Scheduled, deferred and held emails are not in the depth; the parts of the depth add up."""
        [found] = [each for each in mailctl("queue", "list", "--json").lines if each["queue"] == "celery"]
        assert (found["scheduled"], found["deferred"], found["held"]) == (4, 6, 2)
        assert found["pending"] + found["queued"] + found["in_flight"] == found["depth"]

    def test_tables_have_the_depth(self, mailctl: Mailctl) -> None:
        """In the first column of numbers."""
        assert _cells(mailctl("queue", "list").out, column=1) == EXPECTED
        assert _cells(mailctl("top").out, column=1) == EXPECTED

    def test_metrics_have_the_depth(self, mailctl: Mailctl) -> None:
        """One sample for each queue."""
        found = re.findall(r'^mailctl_queue_depth\{queue="([^"]*)"\} (\d+)$', mailctl("metrics").out, re.M)
        assert {queue: int(depth) for queue, depth in found} == EXPECTED

    def test_monitor_checks_the_depth(self, mailctl: Mailctl) -> None:
        """By default, of the deepest queue but the bulk queue."""
        for options, expected in (((), 8), (("--queue", "mailctl.bulk"), 2), (("--queue", "reports"), 0)):
            [report] = mailctl("monitor", *options, "--json").lines
            assert {check["name"]: check["value"] for check in report["checks"]}["depth"] == expected

    def test_stats_count_all_unfinished_emails(self, mailctl: Mailctl) -> None:
        """That is the depth, and what is counted beside it."""
        assert mailctl("stats", "--json").lines[0]["unfinished"] == UNFINISHED


def test_the_dashboard_has_the_depth(log: Settings) -> None:
    """On the pages and in the JSON API; the trend ends with all unfinished emails."""
    runtime.configure(log)
    key = runtime.current().api_keys.create("test").plaintext
    try:
        with (
            serving(web.create_app(log)) as address,
            httpx.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client,
        ):
            overview = client.get("/api/overview").json()
            assert _depths(overview["queues"]) == EXPECTED
            assert overview["time_series"][-1]["unfinished"] == UNFINISHED
            assert _depths(client.get("/api/queues").json()["queues"]) == EXPECTED
            assert _html_cells(client.get("/queues").text) == EXPECTED
            page = client.get("/overview").text
            assert _html_cells(page) == EXPECTED
            assert "<dt>Depth</dt><dd><b>10</b>" in page
    finally:
        runtime.close()
