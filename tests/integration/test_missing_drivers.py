"""A broker whose driver cannot be loaded is refused in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.errors import ExitCode

if TYPE_CHECKING:
    from tests.integration.commands import Mailctl


@pytest.mark.parametrize("command", [["worker", "--drain"], ["queue", "list"], ["health"], ["check-config"]])
@pytest.mark.parametrize(
    "url", ["sqs://key:hunter2@", "confluentkafka://me:hunter2@127.0.0.1:1", "zookeeper://h"]
)
def test_a_missing_driver_costs_one_sentence(
    url: str, command: list[str], mailctl: Mailctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its import raises: an ImportError, or a NameError of kombu."""
    monkeypatch.setenv("DEBUG", "False")
    monkeypatch.setenv("SECRET_KEY", "a-secret-key-of-more-than-32-characters")
    monkeypatch.setenv("CELERY_BROKER_URL", url)
    assert mailctl("db", "upgrade").code == ExitCode.DONE
    ran = mailctl(*command)
    assert ran.code in (ExitCode.USAGE, ExitCode.FAILED, ExitCode.UNAVAILABLE)
    assert "The driver of the broker cannot be loaded" in ran.out + ran.err
    assert "Traceback" not in ran.err
    assert "hunter2" not in ran.out + ran.err
