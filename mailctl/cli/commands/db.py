"""`mailctl db`: schema, encryption and partitions of the delivery log."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.commands.db_partition import partition
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.lazy_commands import CommandGroup
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import ExitCode
from mailctl.timefmt import pluralize

if TYPE_CHECKING:
    from mailctl.cli.terminal.output import Output
    from mailctl.delivery_log.rekey import RekeyResult
    from mailctl.delivery_log.storage.schema_version import SchemaVersion
    from mailctl.views.maintenance import SchemaVersionView

app = CommandGroup("db", "Manage the schema, the partitions and the encryption key of the delivery log.")
#: Maximum number of ids that are shown of emails that cannot be decrypted.
_MAX_SHOWN_IDS = 10


@uses_log(AccessMode.READ)
def current(session: CliSession) -> None:
    """Show the schema version and the partitions; exit with 1 if this mailctl needs another version.

    \b
    Examples:
      mailctl db current

    \b
    Exit codes:
      0  The schema has the version that this mailctl needs.
      1  It has another version.
      3  There is no delivery log.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl db upgrade
    """
    from mailctl.operations.maintenance import schema_version

    version = schema_version(session.settings)
    _show_version(session.output, version)
    if not version.is_current:
        raise typer.Exit(ExitCode.FAILED)


@uses_log(AccessMode.CREATE)
def upgrade(session: CliSession) -> None:
    """Create the schema, or upgrade it to the version that this mailctl needs.

    \b
    Examples:
      mailctl db upgrade

    \b
    Exit codes:
      0  The schema has the version that this mailctl needs.
      2  The delivery log was made by a newer mailctl.
      5  The database cannot be reached.

    \b
    See also:
      mailctl db current
    """
    from mailctl.operations.maintenance import schema_version, upgrade_schema

    before = upgrade_schema(session.settings)
    after = schema_version(session.settings)
    _show_version(session.output, after)
    if before.current != after.current:
        session.output.note(f"upgraded from {before.current or 'an empty database'}")


@uses_log(AccessMode.UPDATE)
def rekey(
    session: CliSession,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the contents without re-encrypting them.")
    ] = False,
) -> None:
    """Re-encrypt, with SECRET_KEY, the contents that an older key encrypted.

    To rotate the key: create one with `python -c "import secrets; print(secrets.token_urlsafe(48))"`. If
    there are several hosts, first add it to MAILCTL_SECRET_KEYS_OLD everywhere, and restart all processes.
    Then set SECRET_KEY to the new key and MAILCTL_SECRET_KEYS_OLD to the earlier one everywhere, restart
    again, and run this command. Remove the earlier key once the links and bounces of emails that were sent
    before are no longer needed. Run it also after an upgrade from a version that did not bind contents to
    their emails: until then these emails wait. It can be interrupted and repeated. Exits with 1 if there are
    contents that no known key decrypts.

    \b
    Examples:
      mailctl db rekey --dry-run
      mailctl db rekey

    \b
    Exit codes:
      0  All contents are encrypted with SECRET_KEY.
      1  No known key decrypts some contents; their ids are printed.
      3  There is no delivery log.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl check-config, mailctl keys
    """
    total = _rekey(session, dry_run=dry_run)
    _show_rekeyed(session.output, total, dry_run=dry_run)
    if total.unreadable:
        raise typer.Exit(ExitCode.FAILED)


app.add("current", current)
app.add("upgrade", upgrade)
app.add("rekey", rekey)
app.add("partition", partition)


def _rekey(session: CliSession, *, dry_run: bool) -> RekeyResult:
    """Encrypt contents again, showing the progress; return the totals."""
    from mailctl.delivery_log.rekey import RekeyResult
    from mailctl.operations import maintenance

    total = RekeyResult()
    with session.output.spinner("encrypting") as update:
        try:
            for step in maintenance.rekey(session.settings, dry_run=dry_run):
                total += step
                update(f"{total.outdated + total.current:,} checked")
        except KeyboardInterrupt:
            session.output.note(f"{total.outdated:,} re-encrypted; repeat the command to continue.")
            raise
    return total


def _show_rekeyed(output: Output, total: RekeyResult, *, dry_run: bool) -> None:
    if output.as_json:
        from mailctl.views.maintenance import RekeyView

        output.record(RekeyView.of(total, dry_run=dry_run))
    else:
        verb = "would re-encrypt" if dry_run else "re-encrypted"
        text = f"{verb} the content of {pluralize(total.outdated, 'email')} with SECRET_KEY"
        text += f"; {total.current} already used it"
        output.prose(text, hang=0)
    if total.unreadable:
        output.note(_unreadable_message(total.unreadable))
    elif total.outdated and not dry_run:
        output.note(
            "Once the links and bounces of emails that were sent before are no longer needed, remove the"
            " earlier key from MAILCTL_SECRET_KEYS_OLD, and restart all processes."
        )


def _unreadable_message(ids: tuple[str, ...]) -> str:
    shown = ", ".join(ids[:_MAX_SHOWN_IDS]) + (" …" if len(ids) > _MAX_SHOWN_IDS else "")
    return (
        f"The content of {pluralize(len(ids), 'email')} cannot be decrypted with any key, or was sealed for "
        f"another email: {shown}. Add their key to MAILCTL_SECRET_KEYS_OLD, or cancel these emails."
    )


def _show_version(output: Output, version: SchemaVersion) -> None:
    verdict = "current" if version.is_current else f"this mailctl needs {version.head}"
    layout = f"; partitions of {pluralize(version.partition_days, 'day')}" if version.partition_days else ""
    output.result(partial(_version_view, version), f"{version.current or 'no schema'} ({verdict}){layout}")


def _version_view(version: SchemaVersion) -> SchemaVersionView:
    from mailctl.views.maintenance import SchemaVersionView

    return SchemaVersionView.of(version)
