"""The evidence about an email."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.delivery_log.pauses import PauseScope
from mailctl.diagnosis.evidence import EvidenceCollector
from mailctl.domain.models import State
from mailctl.runtime import Runtime
from mailctl.settings import BULK_QUEUE, Settings
from tests.emails import email

if TYPE_CHECKING:
    from pathlib import Path


def test_only_pauses_of_the_email_are_evidence(tmp_path: Path) -> None:
    """The pause of another queue says nothing about it."""
    parts = Runtime(Settings(mailctl_home=tmp_path))
    for scope, name in ((PauseScope.QUEUE, BULK_QUEUE), (PauseScope.KIND, "welcome")):
        parts.pauses.pause(scope, name, actor="ada", reason="")
    case = EvidenceCollector(parts).collect(email(State.PENDING, kind="welcome", queue="celery"), ())
    parts.close()
    assert [pause.name for pause in case.evidence.pauses] == ["welcome"]
