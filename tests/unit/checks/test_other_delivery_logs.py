"""Workers on the broker with another delivery log or another key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailctl.broker.shared_queues import MailctlWorker
from mailctl.checks.other_delivery_logs import compare_other_workers
from mailctl.settings import Settings

OTHER = MailctlWorker(name="w@b", queues=("celery",), keys=("new", "old"))


@pytest.mark.parametrize(
    ("mode", "own_queues", "is_failure"),
    [("auto", (), False), ("auto", ("celery",), True), ("reference", (), True), ("full", ("celery",), False)],
)
def test_another_log_matters_where_messages_only_refer_to_it(
    mode: str, own_queues: tuple[str, ...], is_failure: bool
) -> None:
    """A message that carries everything can be sent without the log."""
    settings = Settings(mailctl_messages=mode)  # type: ignore[arg-type]
    [found] = compare_other_workers([OTHER], settings, keys=["old"], own_queues=own_queues)
    assert (found.subject, found.is_failure) == ("log", is_failure)
    assert found.detail.startswith("worker w@b consumes celery ")


def test_another_key_is_named_if_the_worker_tells_its_keys() -> None:
    """Earlier keys that it still accepts count."""
    found = compare_other_workers([OTHER], Settings(), keys=["mine", "old"], own_queues=())
    assert [(each.subject, each.is_failure) for each in found] == [("log", False), ("keys", False)]
    silent = MailctlWorker(name="w@b", queues=("celery",))
    found = compare_other_workers([silent], Settings(), keys=["mine"], own_queues=())
    assert [each.subject for each in found] == ["log"]


def test_workers_on_the_same_queues_are_named_together() -> None:
    """There may be many of them."""
    others = [OTHER, replace(OTHER, name="w@c"), replace(OTHER, name="w@d", queues=("reports",))]
    details = [each.detail for each in compare_other_workers(others, Settings(), keys=["old"], own_queues=())]
    assert [detail.partition(" and ")[0] for detail in details] == [
        "workers w@b, w@c consume celery",
        "worker w@d consumes reports",
    ]
    assert "and have another delivery log: they send emails of this log" in details[0]
