"""Changing the rate of a campaign."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailctl.errors import NotFound
from mailctl.operations.campaign_rate import change_rate
from mailctl.runtime import Runtime
from mailctl.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_the_rate_before_is_returned(tmp_path: Path) -> None:
    """So that a change can be undone; an unknown campaign has none."""
    runtime = Runtime(Settings(mailctl_home=tmp_path))
    runtime.campaigns.create_or_update("spring", kind="welcome", rate=4.0)
    assert change_rate(runtime, "spring", None) == 4.0
    assert change_rate(runtime, "spring", 2.0) is None
    with pytest.raises(NotFound, match="no email of campaign 'autumn'"):
        change_rate(runtime, "autumn", 1.0)
    runtime.close()
