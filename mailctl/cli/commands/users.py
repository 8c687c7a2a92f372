"""`mailctl users`: the embedded directory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.lazy_commands import CommandGroup
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import ExitCode, InvalidInput

if TYPE_CHECKING:
    from mailctl.domain.models import User

app = CommandGroup("users", "The users; they are added here only where DATABASE_URL is not set.")


@uses_log(AccessMode.OPTIONAL)
def list_users(session: CliSession) -> None:
    """List the users; where DATABASE_URL is set, the first 100 of the service's."""
    from mailctl.users import list_users as users_in

    found = users_in(session.runtime.directory)
    if session.output.as_json:
        from mailctl.views.users import UserView

        for user in found.users:
            session.output.record(UserView.model_validate(user))
    else:
        rows = [[user.id or "", user.email, user.username, user.first_name] for user in found.users]
        session.output.table(["id", "email", "username", "first name"], rows)
    for problem in found.problems:
        session.output.note(f"line {problem.line}: {problem.reason}")
    if found.is_truncated:
        session.output.note("There are more: only the first users of the service's database are listed.")


@uses_log(AccessMode.ON_WRITE)
def add_user(
    session: CliSession,
    email: Annotated[str, typer.Argument(metavar="ADDRESS", help="The user's address.")],
    username: Annotated[str, typer.Option("--username", help="Defaults to the part before the @.")] = "",
    first_name: Annotated[str, typer.Option("--first-name", help="Whom to greet.")] = "",
) -> None:
    """Add a user."""
    from mailctl.users import require_embedded_directory

    directory = require_embedded_directory(session.runtime.directory)
    user = directory.add(email, username=username or email.partition("@")[0], first_name=first_name)
    _show(session, user)


@uses_log(AccessMode.ON_WRITE)
def import_users(
    session: CliSession,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="CSV with a header: email, and id, username, first_name as you like; - for standard input.",
        ),
    ],
) -> None:
    """Add or update users from a CSV file; bad rows are told with their line, and skipped."""
    from mailctl.users import require_embedded_directory

    directory = require_embedded_directory(session.runtime.directory)
    if str(file) == "-":
        report = directory.import_csv(sys.stdin)
    else:
        try:
            with file.open(encoding="utf-8-sig", newline="") as stream:
                report = directory.import_csv(stream)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise InvalidInput(str(file), f"cannot be read ({reason}).", fix="Name a CSV file.") from error
    for problem in report.problems:
        session.output.note(f"line {problem.line}: {problem.reason}")
    if session.output.as_json:
        from mailctl.views.users import UserImportView

        session.output.record(UserImportView.model_validate(report))
    else:
        session.output.line(f"{report.added} added, {report.updated} updated, {len(report.problems)} skipped")
    if report.problems:
        raise typer.Exit(ExitCode.FAILED)


app.add("list", list_users)
app.add("add", add_user)
app.add("import", import_users)


def _show(session: CliSession, user: User) -> None:
    if session.output.as_json:
        from mailctl.views.users import UserView

        session.output.record(UserView.model_validate(user))
    else:
        session.output.line(f"user {user.id}: {user.email}")
