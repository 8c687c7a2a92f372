"""`mailctl users`: list users, and manage the embedded user directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailctl.cli.arguments import check_address, open_csv_file
from mailctl.cli.completion_scripts import complete_file
from mailctl.cli.context import CliSession, uses_log
from mailctl.cli.lazy_commands import CommandGroup
from mailctl.cli.option_groups import LayoutOptions, with_options
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.errors import ExitCode

if TYPE_CHECKING:
    from mailctl.cli.terminal.output import Output
    from mailctl.domain.models import User
    from mailctl.users import ImportReport
    from mailctl.views.users import UserImportView, UserView

app = CommandGroup(
    "users",
    "List users; add and import users of the embedded directory.\n\n"
    "The embedded directory is used while DATABASE_URL does not name the service's own database.",
)
_COLUMNS = ["id", "email", "username", "first name"]


@uses_log(AccessMode.OPTIONAL)
@with_options
def list_users(session: CliSession, layout: LayoutOptions) -> None:
    """List the users; at most 100 from the service's own database.

    \b
    Examples:
      mailctl users list

    \b
    Exit codes:
      0  The users were printed, if there are any.
      3  There is no delivery log with users.
      5  The database of users, or the delivery log, cannot be used.

    \b
    See also:
      mailctl send, mailctl users add
    """
    layout.apply_to(session, "users:UserView")
    from mailctl.users import list_users as users_in

    found = users_in(session.runtime.directory)
    session.output.listing(map(_view, found.users), columns=_COLUMNS, rows=map(_row, found.users))
    for problem in found.problems:
        session.output.note(f"line {problem.line}: {problem.reason}")
    if found.is_truncated:
        session.output.note("The service's database has more users.")


@uses_log(AccessMode.ON_WRITE)
def add_user(
    session: CliSession,
    email: Annotated[str, typer.Argument(metavar="ADDRESS", help="The email address of the user.")],
    username: Annotated[
        str, typer.Option("--username", metavar="NAME", help="Username; default: the part before the @.")
    ] = "",
    first_name: Annotated[
        str, typer.Option("--first-name", metavar="NAME", help="First name, used in the greeting.")
    ] = "",
) -> None:
    """Add a user to the embedded directory.

    \b
    Examples:
      mailctl users add ada@example.com --first-name Ada

    \b
    Exit codes:
      0  The user was added.
      2  The address is invalid, or DATABASE_URL names the database of the service.
      4  There is a user with this address.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl users list, mailctl users import
    """
    from mailctl.users import require_embedded_directory

    directory = require_embedded_directory(session.runtime.directory)
    check_address(email, name="ADDRESS")
    user = directory.add(email, username=username or email.partition("@")[0], first_name=first_name)
    session.output.result(lambda: _view(user), f"user {user.id}: {user.email}")


@uses_log(AccessMode.ON_WRITE)
def import_users(
    session: CliSession,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            autocompletion=complete_file,
            help="A CSV file with a header: email, optionally id, username and first_name; - reads stdin.",
        ),
    ],
) -> None:
    """Add or update users of the embedded directory from a CSV file.

    Invalid rows are reported and skipped, and the command exits with 1.

    \b
    Examples:
      mailctl users import users.csv

    \b
    Exit codes:
      0  All rows were imported.
      1  Some rows are invalid; the others were imported.
      2  The file cannot be read.
      5  The delivery log cannot be used.

    \b
    See also:
      mailctl users list, mailctl send
    """
    from mailctl.users import require_embedded_directory

    directory = require_embedded_directory(session.runtime.directory)
    with open_csv_file(file) as stream:
        report = directory.import_csv(stream)
    _show_import(session.output, report)
    if report.problems:
        raise typer.Exit(ExitCode.FAILED)


app.add("list", list_users)
app.add("add", add_user)
app.add("import", import_users)


def _show_import(output: Output, report: ImportReport) -> None:
    for problem in report.problems:
        output.note(f"line {problem.line}: {problem.reason}")
    output.result(
        lambda: _import_view(report),
        f"{report.added} added, {report.updated} updated, {len(report.problems)} skipped",
    )


def _view(user: User) -> UserView:
    from mailctl.views.users import UserView

    return UserView.model_validate(user)


def _import_view(report: ImportReport) -> UserImportView:
    from mailctl.views.users import UserImportView

    return UserImportView.model_validate(report)


def _row(user: User) -> list[str]:
    return [user.id or "", user.email, user.username, user.first_name]
