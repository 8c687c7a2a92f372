"""The figures of the overview: what is read for each of them, and what is shared for longer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.runtime import Runtime
from mailctl.settings import Settings
from mailctl.web.overview_figures import RECENT_FACTS_SECONDS, _read_recent

if TYPE_CHECKING:
    from pathlib import Path


def test_errors_and_campaigns_are_shared_for_some_readings(tmp_path: Path) -> None:
    """They take longest to read; another log, or ten seconds later, they are read again."""
    now = [0.0]

    def clock() -> float:
        return now[0]

    first, second = (Runtime(Settings(mailctl_home=tmp_path / name)) for name in ("one", "two"))
    found = _read_recent(first, clock)
    now[0] = RECENT_FACTS_SECONDS - 0.1
    assert _read_recent(first, clock) is found
    now[0] = RECENT_FACTS_SECONDS
    later = _read_recent(first, clock)
    assert later is not found
    assert _read_recent(second, clock) is not later
    for each in (first, second):
        each.close()
