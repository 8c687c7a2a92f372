"""`mailctl db`: the schema of the delivery log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mailctl.cli.context import Session
from mailctl.cli.help import Commands
from mailctl.errors import ExitCode

if TYPE_CHECKING:
    from mailctl.log.schema import SchemaVersion

app = Commands("db", "The schema of the delivery log.")


def current(session: Session) -> None:
    """Tell the version of the schema; exit 1 if this mailctl works with another."""
    from mailctl.maintenance import schema_version

    version = schema_version(session.settings)
    _show(session, version)
    if not version.is_current:
        raise typer.Exit(ExitCode.FAILED)


def upgrade(session: Session) -> None:
    """Bring the schema to the version that this mailctl works with."""
    from mailctl.maintenance import schema_version, upgrade_schema

    before = upgrade_schema(session.settings)
    after = schema_version(session.settings)
    _show(session, after)
    if before.current != after.current:
        session.output.note(f"upgraded from {before.current or 'nothing'}")


app.add("current", current)
app.add("upgrade", upgrade)


def _show(session: Session, version: SchemaVersion) -> None:
    if session.output.as_json:
        session.output.record({"current": version.current, "head": version.head, "ok": version.is_current})
    else:
        verdict = "current" if version.is_current else f"this mailctl works with {version.head}"
        session.output.line(f"{version.current or 'no schema'} ({verdict})")
