"""`mailctl config`: show the settings, and what another profile would change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.completion import complete_profile
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.lazy_commands import CommandGroup
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.domain.choices import require_choice
from mailctl.errors import ExitCode

if TYPE_CHECKING:
    from mailctl.checks.profile_diff import ProfileDiff
    from mailctl.cli.terminal.output import Output
    from mailctl.settings.description import SettingDescription
    from mailctl.views.config import SettingView

app = CommandGroup(
    "config", "Show the settings and where they come from, or compare two profiles.", default="show"
)


@uses_log(AccessMode.OPTIONAL)
def show(
    session: CliSession,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Only these settings, such as EMAIL_HOST; default: all."),
    ] = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only settings that differ from their default.")
    ] = False,
) -> None:
    """Show every setting with its value and its source; secrets are masked.

    \b
    Examples:
      mailctl config
      mailctl config show EMAIL_HOST EMAIL_PORT
      mailctl config show --changed --env-file prod.env

    \b
    Exit codes:
      0  The settings were printed.
      2  There is no such setting, or a setting is invalid.

    \b
    See also:
      mailctl config diff, mailctl check-config, mailctl init
    """
    from mailctl.settings.description import describe_settings

    known = {each.name: each for each in describe_settings(session.settings)}
    chosen = [require_choice(name.upper(), known, noun="setting") for name in names or known]
    shown = [known[name] for name in chosen if not (changed and known[name].is_default)]
    session.output.listing(
        map(_view, shown),
        columns=["name", "value", "source"],
        rows=([each.name, each.value, each.source] for each in shown),
    )


@uses_log(AccessMode.READ)
def diff(
    session: CliSession,
    profile: Annotated[
        str,
        typer.Option(
            "--profile",
            metavar="PROFILE",
            help="The profile to compare with: development or production.",
            autocompletion=complete_profile,
        ),
    ],
) -> None:
    """Show what another profile would change, and what it would refuse.

    Contacts no service. A check that fails only with the other profile is an obstacle.

    \b
    Examples:
      mailctl config diff --profile production

    \b
    Exit codes:
      0  The settings work with the other profile.
      1  There are obstacles; each is printed with its fix.
      2  There is no such profile, or a setting is invalid.

    \b
    See also:
      mailctl config show, mailctl check-config
    """
    from mailctl.checks.profile_diff import compare_profiles
    from mailctl.settings import Profile

    found = compare_profiles(
        session.settings, Profile(require_choice(profile, list(Profile), noun="profile"))
    )
    if session.output.as_json:
        from mailctl.views.config import ProfileDiffView

        session.output.record(ProfileDiffView.of(found))
    else:
        _show_diff(session.output, found)
    if found.obstacles:
        raise typer.Exit(ExitCode.FAILED)


app.add("show", show)
app.add("diff", diff)


def _view(setting: SettingDescription) -> SettingView:
    from mailctl.views.config import SettingView

    return SettingView(name=setting.name, value=setting.value, source=setting.source)


def _show_diff(output: Output, found: ProfileDiff) -> None:
    if found.values:
        output.table(["", found.now, found.then], [[each.name, each.now, each.then] for each in found.values])
    else:
        output.line(f"The profile is {found.now} already.")
    for obstacle in found.obstacles:
        output.line()
        output.state(obstacle.status, f"{obstacle.name}: {obstacle.detail}")
        output.fix(obstacle.fix, indent="      -> ")
