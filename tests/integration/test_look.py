"""`stats`, `monitor`, `metrics` and `preview`, from the arguments to what they print."""

from __future__ import annotations

import json
import os
import re
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert

from mailctl.delivery_log.storage.engine import open_engine, writing
from mailctl.delivery_log.storage.schema_version import ensure_current
from mailctl.delivery_log.storage.tables import emails, events
from mailctl.delivery_log.storage.urls import parse_url
from mailctl.security.links import InvalidLink, Links
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str]]

#: Values of the label of a metric, with what has to be escaped.
QUEUE = 'odd "queue" \\ name'


@pytest.fixture
def mixed(run: Run, tmp_path: Path) -> None:
    """A log with emails that were sent, that failed and that wait, all of them lately."""
    (tmp_path / ".mailctl").mkdir()
    url = f"sqlite:///{tmp_path / '.mailctl' / 'mailctl.db'}"
    engine = open_engine(parse_url(url, setting="test"), setting="test")
    ensure_current(engine)
    at = datetime.now(UTC) - timedelta(minutes=10)
    states = ["sent"] * 5 + ["captured"] + ["failed"] * 2 + ["queued"] * 4
    rows = [
        {
            "id": f"email-{number}",
            "kind": "reset" if number % 2 else "welcome",
            "state": state,
            "queue": QUEUE,
            "to_address": "private.person@example.com",
            "attempts": 1,
            "created_at": at,
            "updated_at": at,
            "due_at": at,
            "sent_at": at + timedelta(seconds=2) if state in ("sent", "captured") else None,
            "error": "refused at rcpt: 550 no private.person@example.com" if state == "failed" else None,
            "smtp_code": 550 if state == "failed" else None,
        }
        for number, state in enumerate(states)
    ]
    with writing(engine) as connection:
        connection.execute(insert(emails), rows)
        ends = [{"email_id": row["id"], "at": at, "state": row["state"], "attempt": 1} for row in rows]
        connection.execute(insert(events), ends)
    engine.dispose()


@pytest.mark.usefixtures("mixed")
class TestStats:
    def test_people_see_rates_latencies_and_bars(self, run: Run) -> None:
        """With the course of time."""
        code, out = run("stats", "--by", "error", "--since", "1h")
        assert code == 0
        assert re.search(r"^sent +5$", out, re.MULTILINE)
        assert re.search(r"^captured +1$", out, re.MULTILINE)
        assert "delivered" not in out
        assert re.search(r"failed +2 +25.0% of those sent or failed", out)
        assert re.search(r"latency +p50 2.0 s", out)
        assert re.search(r"550 +2 +100.0%.*█", out)

    def test_programs_get_numbers(self, run: Run) -> None:
        """Shares from 0 to 1, latencies in seconds."""
        found = json.loads(run("stats", "--by", "kind", "--json")[1])
        assert (found["recorded"], found["sent"], found["captured"]) == (12, 5, 1)
        assert (found["failed"], found["unfinished"]) == (2, 4)
        assert found["latency"]["p95"] == pytest.approx(2, abs=0.001)
        assert {group["name"]: group["share"] for group in found["groups"]} == {"welcome": 0.5, "reset": 0.5}
        assert sum(point["recorded"] for point in found["points"]) == 12

    @pytest.mark.parametrize("arguments", [("--by", "weather"), ("--since", "soon"), ("--until", "3d")])
    def test_what_makes_no_sense_is_refused(self, run: Run, arguments: tuple[str, ...]) -> None:
        """Exit code 2."""
        assert run("stats", *arguments)[0] == 2


@pytest.mark.usefixtures("mixed")
class TestMonitor:
    def checks(self, run: Run, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Return the exit code, and the checks by name."""
        code, out = run("monitor", "--json", *arguments)
        found = json.loads(out)
        assert found["ok"] == (code == 0)
        return code, {check["name"]: check for check in found["checks"]}

    def test_each_broken_limit_has_its_reason(self, run: Run) -> None:
        """With what was found and what may be."""
        code, checks = self.checks(run, "--max-depth", "3")
        assert code == 1
        assert {name: check["ok"] for name, check in checks.items()} == {
            "depth": False,
            "age": False,
            "failed": False,
            "workers": False,
            "mail-server": True,
            "recording": True,
            "bounced": True,
            "complained": True,
        }
        assert (checks["depth"]["value"], checks["depth"]["limit"]) == (4, 3)
        assert checks["failed"]["value"] == 0.25
        assert "2 of 8 sends" in checks["failed"]["reason"]

    def test_limits_that_hold(self, run: Run) -> None:
        """Exit code 0; a sentence for each where people read."""
        generous = ("--max-age", "1d", "--max-failed", "25%", "--min-workers", "0", "--max-depth", "4")
        assert self.checks(run, *generous)[0] == 0
        code, out = run("monitor", *generous)
        assert (code, out.count("ok ")) == (0, 8)

    def test_one_queue_alone(self, run: Run) -> None:
        """And failures of a time alone."""
        others = ("--queue", "mailctl.bulk", "--min-workers", "0")
        code, checks = self.checks(run, *others)
        assert (code, checks["depth"]["value"], checks["failed"]["value"]) == (0, 0, None)
        _, checks = self.checks(run, "--since", "5m")
        assert (checks["failed"]["ok"], checks["failed"]["value"]) == (True, None)

    @pytest.mark.parametrize(
        "arguments", [("--max-failed", "120%"), ("--max-failed", "few"), ("--max-age", "old")]
    )
    def test_what_is_no_limit_is_refused(self, run: Run, arguments: tuple[str, ...]) -> None:
        """Exit code 2."""
        assert run("monitor", *arguments)[0] == 2


@pytest.mark.usefixtures("mixed")
class TestMetrics:
    #: A sample of Prometheus' text form: name, labels, value.
    SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (\S+)')

    def test_every_line_is_in_the_text_form(self, run: Run) -> None:
        """Help and type stand before the samples of each family; labels are escaped; no address is there."""
        code, out = run("metrics")
        assert (code, out[-1]) == (0, "\n")
        family = ""
        for line in out.splitlines():
            if line.startswith("# HELP "):
                family = line.split()[2]
            elif line.startswith("# TYPE "):
                assert line.split()[2] == family
            else:
                sample = self.SAMPLE.fullmatch(line)
                assert sample, line
                assert sample[1].startswith(family)
                float(sample[3])
        assert "private" not in out
        assert 'queue="odd \\"queue\\" \\\\ name"' in out

    def test_what_is_counted(self, run: Run) -> None:
        """States, queues, workers and how fast."""
        out = run("metrics")[1]
        assert 'mailctl_emails{state="failed"} 2' in out
        assert "mailctl_emails_recorded_total 12" in out
        assert "mailctl_workers 0" in out
        assert "mailctl_recent_latency_emails 6" in out
        assert re.search(r'^mailctl_recent_latency_seconds{quantile="0.95"} \d', out, re.MULTILINE)
        assert re.search(r"^mailctl_last_sent_timestamp_seconds \d+", out, re.MULTILINE)
        assert re.search(r'^mailctl_build_info{version="[^"]+",python="3[^"]+"} 1$', out, re.MULTILINE)
        assert 'mailctl_outcomes_total{kind="welcome",outcome="failed"}' in out

    def test_series_are_there_before_there_is_anything_to_count(self, run: Run) -> None:
        """An alert on a series that comes and goes would come and go with it."""
        before = self.series(run("metrics")[1])
        assert {
            'mailctl_emails{state="held"}',
            'mailctl_recent_emails{kind="new-ip",state="failed"}',
            'mailctl_outcomes_total{kind="new-ip",outcome="sent"}',
            'mailctl_queue_emails{queue="mailctl.bulk",state="deferred"}',
            'mailctl_paused{scope="queue",name="celery"}',
            'mailctl_paused{scope="kind",name="reset"}',
        } <= before
        run("queue", "pause", "celery")
        out = run("metrics")[1]
        assert self.series(out) == before
        assert 'mailctl_paused{scope="queue",name="celery"} 1' in out

    def test_no_window_is_a_counter(self, run: Run) -> None:
        """What may fall is a gauge."""
        types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", run("metrics")[1], re.MULTILINE))
        counters = {name for name, type_ in types.items() if type_ != "gauge"}
        assert counters == {
            "mailctl_emails_recorded_total",
            "mailctl_feedback_total",
            "mailctl_outcomes_total",
        }

    def series(self, out: str) -> set[str]:
        """Return the names and labels of the samples."""
        return {line.rpartition(" ")[0] for line in out.splitlines() if not line.startswith("#")}


class TestPreview:
    def test_its_links_do_not_work(self, run: Run) -> None:
        """They say that they are samples, and no key opens them; nothing is recorded."""
        found = json.loads(run("preview", "reset", "--json")[1])
        token = found["links"]["reset_url"].partition("t=")[2]
        assert token.startswith("SAMPLE")
        with pytest.raises(InvalidLink):
            Links(Settings.load()).verify(token, purpose="reset-password")
        assert token in found["html"]
        assert run("list")[0] == 3, "it made a log"
        assert run("list", "--json")[1] == ""

    def test_a_user_and_variables_take_the_place_of_samples(self, run: Run) -> None:
        """Also in the text alone."""
        code, out = run("preview", "new-ip", "--user-id", "2", "--set", "ip_address=192.0.2.9", "--text")
        assert (code, "Hello Grace" in out, "192.0.2.9" in out, "To:" in out) == (0, True, True, False)

    def test_html_goes_into_a_file(self, run: Run, tmp_path: Path) -> None:
        """As a browser shows it; only its owner may read it."""
        previous = os.umask(0)
        try:
            assert run("preview", "welcome", "--html", str(tmp_path / "welcome.html"))[0] == 0
        finally:
            os.umask(previous)
        assert "<html" in (tmp_path / "welcome.html").read_text()
        assert stat.S_IMODE((tmp_path / "welcome.html").stat().st_mode) == 0o600

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (("nothing",), 2),
            (("reset", "--template", "message"), 2),
            (("reset", "--text", "--raw"), 2),
            (("reset", "--user-id", "1", "--email", "zoe@example.com"), 2),
            (("reset", "--user-id", "99"), 3),
            (("reset", "--html", "/nowhere/x.html"), 2),
            (("email", "--set", "title"), 2),
        ],
    )
    def test_what_cannot_be_shown(self, run: Run, arguments: tuple[str, ...], code: int) -> None:
        """Has an exit code that says why."""
        assert run("preview", *arguments)[0] == code
