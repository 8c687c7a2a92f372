"""The differences between profiles: the servers, and the settings that production would refuse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailctl.checks.finding import Finding, FindingStatus
from mailctl.checks.run_checks import run_checks

if TYPE_CHECKING:
    from mailctl.settings import Profile, Settings


@dataclass(frozen=True, kw_only=True)
class ValueDifference:
    """A value that depends on the profile."""

    name: str
    now: str
    then: str


@dataclass(frozen=True, kw_only=True)
class ProfileDiff:
    """The difference between the current profile and another one."""

    now: Profile
    then: Profile
    values: tuple[ValueDifference, ...]
    #: The checks that fail with the other profile only.
    obstacles: tuple[Finding, ...]


def compare_profiles(settings: Settings, profile: Profile) -> ProfileDiff:
    """Return what another profile would change; no service is contacted.

    Args:
        settings: the current settings.
        profile: the other profile.
    """
    then = settings.for_profile(profile)
    pairs = zip(_values(settings).items(), _values(then).values(), strict=True)
    failing_now = {(finding.group, finding.name) for finding in _failures(settings)}
    return ProfileDiff(
        now=settings.profile,
        then=profile,
        values=tuple(
            ValueDifference(name=name, now=now, then=other) for (name, now), other in pairs if now != other
        ),
        obstacles=tuple(
            finding for finding in _failures(then) if (finding.group, finding.name) not in failing_now
        ),
    )


def _values(settings: Settings) -> dict[str, str]:
    return {
        "DEBUG": str(settings.debug),
        "broker": settings.broker.masked,
        "result backend": settings.results.masked,
    }


def _failures(settings: Settings) -> list[Finding]:
    findings = run_checks(settings, offline=True)
    return [finding for finding in findings if finding.status is FindingStatus.FAIL]
