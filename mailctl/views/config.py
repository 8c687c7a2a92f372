"""The settings, the difference between profiles, and what `mailctl init` has written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from mailctl.settings import Profile
from mailctl.views.base import View
from mailctl.views.checks import FindingView

if TYPE_CHECKING:
    from mailctl.checks.profile_diff import ProfileDiff


class SettingView(View):
    """A setting, with its secrets masked."""

    name: str
    value: str = Field(description="The value with its secrets masked; `set` or `empty` for a secret.")
    source: str = Field(description="`environment`, the path of the file, or `default`.")


class ValueDifferenceView(View):
    """A value that depends on the profile."""

    name: str
    now: str
    then: str


class ProfileDiffView(View):
    """The difference between the current profile and another one."""

    now: Profile
    then: Profile
    values: list[ValueDifferenceView]
    obstacles: list[FindingView] = Field(description="The checks that fail with the other profile only.")

    @classmethod
    def of(cls, diff: ProfileDiff) -> ProfileDiffView:
        """Return the view of a difference."""
        return cls(
            now=diff.now,
            then=diff.then,
            values=[ValueDifferenceView.model_validate(each) for each in diff.values],
            obstacles=[FindingView.model_validate(each) for each in diff.obstacles],
        )


class NewSettingsView(View):
    """The file that `mailctl init` has written."""

    path: str
    settings: list[str] = Field(description="The names of the settings in it.")
    checks: list[FindingView] = Field(description="What was checked on the way.")


class DashboardAddressView(View):
    """The address of a page of the dashboard."""

    url: str
