"""`mailctl db`: the schema of the delivery log, and the key that seals what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.lazy_commands import CommandGroup
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import ExitCode

if TYPE_CHECKING:
    from mailctl.delivery_log.rekey import RekeyResult
    from mailctl.delivery_log.storage.schema_version import SchemaVersion

app = CommandGroup("db", "The schema of the delivery log, and its key.")
#: Ids that are told of emails that no key opens.
_MAX_SHOWN_IDS = 10


@uses_log(AccessMode.READ)
def current(session: CliSession) -> None:
    """Tell the version of the schema; exit 1 if this mailctl works with another."""
    from mailctl.operations.maintenance import schema_version

    version = schema_version(session.settings)
    _show(session, version)
    if not version.is_current:
        raise typer.Exit(ExitCode.FAILED)


@uses_log(AccessMode.CREATE)
def upgrade(session: CliSession) -> None:
    """Bring the schema to the version that this mailctl works with."""
    from mailctl.operations.maintenance import schema_version, upgrade_schema

    before = upgrade_schema(session.settings)
    after = schema_version(session.settings)
    _show(session, after)
    if before.current != after.current:
        session.output.note(f"upgraded from {before.current or 'nothing'}")


@uses_log(AccessMode.UPDATE)
def rekey(
    session: CliSession,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
) -> None:
    """Seal with SECRET_KEY what earlier keys sealed; exit 1 if there is something that no key opens."""
    from mailctl.delivery_log.rekey import RekeyResult
    from mailctl.operations import maintenance

    if dry_run:
        session.access_mode = AccessMode.READ
    total = RekeyResult()
    with session.output.spinner("sealing") as update:
        try:
            for step in maintenance.rekey(session.runtime, dry_run=dry_run):
                total += step
                update(f"{total.outdated + total.current:,} seen")
        except KeyboardInterrupt:
            session.output.note(f"{total.outdated:,} sealed; the same command goes on with the rest.")
            raise
    _show_rekeyed(session, total, dry_run=dry_run)
    if total.unreadable:
        raise typer.Exit(ExitCode.FAILED)


app.add("current", current)
app.add("upgrade", upgrade)
app.add("rekey", rekey)


def _show_rekeyed(session: CliSession, total: RekeyResult, *, dry_run: bool) -> None:
    if session.output.as_json:
        from mailctl.views.maintenance import RekeyView

        session.output.record(RekeyView.of(total, dry_run=dry_run))
    else:
        verb = "would be sealed" if dry_run else "are now sealed"
        text = f"{total.outdated} contents {verb} with the newest key; {total.current} were already"
        session.output.prose(text, hang=0)
    if total.unreadable:
        some = ", ".join(total.unreadable[:_MAX_SHOWN_IDS]) + (
            " …" if len(total.unreadable) > _MAX_SHOWN_IDS else ""
        )
        session.output.note(
            f"{len(total.unreadable)} contents open with no key: {some}. "
            "Name their key in MAILCTL_SECRET_KEYS_OLD, or cancel these emails."
        )


def _show(session: CliSession, version: SchemaVersion) -> None:
    if session.output.as_json:
        from mailctl.views.maintenance import SchemaVersionView

        session.output.record(SchemaVersionView.of(version))
    else:
        verdict = "current" if version.is_current else f"this mailctl works with {version.head}"
        session.output.line(f"{version.current or 'no schema'} ({verdict})")
