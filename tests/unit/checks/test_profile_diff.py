"""What another profile changes, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.checks.profile_diff import compare_profiles
from mailctl.settings import Profile, Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_production_has_servers_and_refuses_weak_keys(tmp_path: Path) -> None:
    """What fails in both profiles is no difference."""
    diff = compare_profiles(Settings(mailctl_home=tmp_path), Profile.PRODUCTION)
    values = {each.name: (each.now, each.then) for each in diff.values}
    assert values["DEBUG"] == ("True", "False")
    assert values["broker"] == ("memory://", "redis://localhost:6379/0")
    assert any("SECRET_KEY" in f"{each.name} {each.detail}" for each in diff.obstacles)


def test_the_same_profile_changes_nothing(tmp_path: Path) -> None:
    """There is nothing to do."""
    diff = compare_profiles(Settings(mailctl_home=tmp_path), Profile.DEVELOPMENT)
    assert (diff.values, diff.obstacles) == ((), ())
