"""What differs between workers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mailctl.monitoring.worker_comparison import THIS_PROCESS, compare_workers
from tests.workers import IDENTITY, worker


def running(name: str, *, skew: float = 0.0, **identity: Any) -> Any:
    """Return a worker with an identity."""
    return worker(id=name, name=name, clock_skew=skew, identity=replace(IDENTITY, **identity))


def test_what_is_the_same_everywhere_is_left_out() -> None:
    """Also without any worker."""
    assert compare_workers([running("a"), running("b")], IDENTITY) == []
    assert compare_workers([], IDENTITY) == []


def test_each_difference_has_a_value_for_each_worker() -> None:
    """Of a clock that is right, no tenths of a second are shown; of settings, no value."""
    workers = [
        running("a", skew=0.4, settings={"EMAIL_TLS": "11"}, templates={"reset.html": "22"}),
        running("b", skew=-45.0, version="2.0", keys=("bbbbbbbbb",), mail_server=""),
        replace(running("c"), identity=None, queues=("reports",)),
    ]
    found = {each.subject: dict(each.values) for each in compare_workers(workers, IDENTITY)}
    assert found["clock"] == {"a": "right", "b": "-45.0 s", "c": "right"}
    assert found["version"] == {"a": "1.0", "b": "2.0", "c": "(unknown)", THIS_PROCESS: "1.0"}
    assert found["key"] == {"a": "aaa", "b": "bbbbbb", "c": "(unknown)", THIS_PROCESS: "aaa"}
    assert found["mail server"]["b"] == "captures to files"
    assert found["queues"] == {"a": "celery", "b": "celery", "c": "reports"}
    assert found["EMAIL_TLS"] == {"a": "11", "b": "(default)", "c": "(unknown)"}
    assert found["template reset.html"] == {"a": "22", "b": "(missing)", "c": "(unknown)"}
    assert "pool" not in found
