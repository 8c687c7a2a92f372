"""The users in a table of ours, for a service without a database: it stands beside the delivery log."""

from __future__ import annotations

import csv
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update

from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import users
from mailctl.delivery_log.storage.urls import mask_url
from mailctl.domain.models import RowProblem, User
from mailctl.domain.validation import validate_address, validate_display_name
from mailctl.errors import InvalidInput, NotFound, Refused
from mailctl.users.screening import ExcludedUser, Screening

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TextIO

    from sqlalchemy import Connection, Engine, Row

#: Rows of a file that are written in one transaction, so that others who write need not wait long.
IMPORT_CHUNK = 500
_COLUMNS = ("id", "email", "username", "first_name")
_MAX_ID = 2**31 - 1
_DEMO_USERS: tuple[dict[str, Any], ...] = (
    {"id": 1, "email": "ada@example.com", "username": "ada", "first_name": "Ada"},
    {"id": 2, "email": "grace@example.com", "username": "grace", "first_name": "Grace"},
    {"id": 3, "email": "alan@example.com", "username": "alan", "first_name": "Alan"},
)


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What became of the rows of a file."""

    added: int = 0
    updated: int = 0
    problems: tuple[RowProblem, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _CheckedRow:
    line: int
    #: By column, those that the file has.
    values: Mapping[str, Any]


class EmbeddedUserDirectory:
    """Keeps users in the table `mailctl_users` of the delivery log's database, whose schema is current.

    Every method raises `LogUnavailable` where that database cannot be reached.

    Args:
        engine: the delivery log's; it is not closed here.
        with_demo_users: while the table is empty, there are three users at example.com, which the first
            change puts into it.
    """

    def __init__(self, engine: Engine, *, with_demo_users: bool) -> None:
        self._engine = engine
        self._with_demo_users = with_demo_users

    def get(self, user_id: str, *, screening: Screening = Screening.NONE) -> User:
        """Return the user with that id; nobody is deactivated here.

        Raises:
            NotFound: there is none.
            InvalidInput: the id is not a number.
        """
        del screening
        number = _parse_id(user_id)
        with reading(self._engine) as connection:
            row = connection.execute(select(users).where(users.c.id == number)).first()
            found = [_as_user(row)] if row else self._demo_users(connection)
        for user in found:
            if user.id == str(number):
                return user
        raise NotFound(f"There is no user {user_id} in table {users}.", fix="Run `mailctl users list`.")

    def describe(self) -> str:
        """Return one line that says where users come from and how many there are."""
        with reading(self._engine) as connection:
            count = connection.execute(select(func.count()).select_from(users)).scalar_one()
            count = count or len(self._demo_users(connection))
        return f"table {users} in {mask_url(self._engine.url)}, {count} users"

    def close(self) -> None:
        """Do nothing: the engine is the delivery log's."""

    def iter_users(
        self, *, screening: Screening = Screening.NONE
    ) -> Iterator[User | RowProblem | ExcludedUser]:
        """Go through all users, by id; nobody is left out here."""
        del screening
        yield from self.list_users()

    def has_no_eligibility_columns(self) -> bool:
        """Return False: whoever is in this table is meant to be mailed."""
        return False

    def list_users(self) -> Sequence[User]:
        """Return all users, by id."""
        with reading(self._engine) as connection:
            found = [_as_user(row) for row in connection.execute(select(users).order_by(users.c.id))]
            return found or self._demo_users(connection)

    def add(
        self,
        email: str,
        username: str = "",
        first_name: str = "",
        id: str | None = None,
    ) -> User:
        """Add a user and return it, with the next free id where none is given.

        Raises:
            InvalidInput: a value cannot be used.
            Refused: the address or the id is another user's.
        """
        values = _validate_row(
            {"id": id or "", "email": email, "username": username, "first_name": first_name}
        )
        with self._writing() as connection:
            ids = _ids_by_email(connection, [values["email"]])
            taken = ids.get(values["email"].lower()) or _known_id(connection, values.get("id"))
            if taken is not None:
                has = "this address" if ids else "this id"
                raise Refused(f"User {taken} has {has} already.", fix="Run `mailctl users list`.")
            return _as_user(_insert(connection, values))

    def import_csv(self, stream: TextIO) -> ImportReport:
        """Add the users of a CSV file; those whose id or address is known are brought up to date.

        The first line names the columns: `email`, and as wanted `id`, `username`, `first_name`. A row that
        cannot be used is reported and left out.

        Raises:
            InvalidInput: the file is not CSV, not UTF-8, has no column `email`, or no row.
        """
        rows, problems = _read_csv(stream)
        report = ImportReport(problems=tuple(problems))
        for start in range(0, len(rows), IMPORT_CHUNK):
            chunk = rows[start : start + IMPORT_CHUNK]
            with self._writing() as connection:
                ids = _ids_by_email(connection, [row.values["email"] for row in chunk])
                for row in chunk:
                    report = _upsert(connection, row, ids, report)
        return replace(report, problems=tuple(sorted(report.problems, key=lambda problem: problem.line)))

    def _demo_users(self, connection: Connection) -> Sequence[User]:
        """Return the users that stand in for those of an empty table; reading writes nothing."""
        if not self._with_demo_users or not _is_empty(connection):
            return []
        return [User(**{**values, "id": str(values["id"])}) for values in _DEMO_USERS]

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with writing(self._engine) as connection:
            if connection.dialect.name == "postgresql":
                # Only one at a time, as SQLite has it anyway: whether a user is there, and which id is the
                # next, stays true until the end of the transaction. Readers do not wait.
                connection.exec_driver_sql(f"LOCK TABLE {users} IN SHARE ROW EXCLUSIVE MODE")
            if self._with_demo_users and _is_empty(connection):
                connection.execute(insert(users), _DEMO_USERS)
            yield connection


def _is_empty(connection: Connection) -> bool:
    return connection.execute(select(users.c.id).limit(1)).first() is None


def _parse_id(user_id: str) -> int:
    number = int(user_id) if len(user_id) <= 10 and user_id.isascii() and user_id.isdigit() else 0
    if not 1 <= number <= _MAX_ID:
        raise InvalidInput("user id", f"{user_id!r} is not a number from 1 to {_MAX_ID}.")
    return number


def _validate_row(values: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of a row, each in the form that is stored; without an id where none is given."""
    checked: dict[str, Any] = {"email": validate_address(values["email"])}
    if values.get("id"):
        checked["id"] = _parse_id(values["id"])
    for name in ("username", "first_name"):
        if name in values:
            checked[name] = validate_display_name(values[name], field=name)
    return checked


def _ids_by_email(connection: Connection, emails: Sequence[str]) -> dict[str, int]:
    """Return the ids of the users who have one of the addresses, by address in lower case."""
    lower = func.lower(users.c.email)
    found = select(lower.label("email"), users.c.id).where(lower.in_([email.lower() for email in emails]))
    return {row.email: row.id for row in connection.execute(found)}


def _known_id(connection: Connection, number: int | None) -> int | None:
    return connection.execute(select(users.c.id).where(users.c.id == number)).scalar() if number else None


def _insert(connection: Connection, values: Mapping[str, Any]) -> Row[Any]:
    # PostgreSQL's own sequence does not know of ids that were given.
    following = connection.execute(select(func.coalesce(func.max(users.c.id), 0) + 1)).scalar_one()
    return connection.execute(insert(users).values({"id": following, **values}).returning(users)).one()


def _upsert(
    connection: Connection, row: _CheckedRow, ids: dict[str, int], report: ImportReport
) -> ImportReport:
    """Write one row; `ids` follows what is written."""
    email, given = row.values["email"].lower(), row.values.get("id")
    owner = ids.get(email)
    if owner is not None and given not in (None, owner):
        problem = RowProblem(line=row.line, reason=f"email: is the address of user {owner}.")
        return replace(report, problems=(*report.problems, problem))
    known = owner or _known_id(connection, given)
    if known is None:
        ids[email] = _insert(connection, row.values).id
        return replace(report, added=report.added + 1)
    connection.execute(update(users).where(users.c.id == known).values(**row.values))
    for former in [each for each, number in ids.items() if number == known]:
        del ids[former]
    ids[email] = known
    return replace(report, updated=report.updated + 1)


def _read_csv(stream: TextIO) -> tuple[Sequence[_CheckedRow], Sequence[RowProblem]]:
    reader = csv.DictReader(stream)
    rows, problems = [], []
    try:
        # Spreadsheets write a byte order mark, which a file opened as plain UTF-8 keeps.
        names = [name.removeprefix("\ufeff").strip().lower() for name in reader.fieldnames or ()]
        if "email" not in names:
            raise InvalidInput("file", "its first line has no column email.", fix="Begin it: email,username")
        reader.fieldnames = names
        for record in reader:
            if not any(record.values()):
                continue
            try:
                rows.append(_CheckedRow(line=reader.line_num, values=_validate_row(_cells(record))))
            except InvalidInput as error:
                problems.append(RowProblem(line=reader.line_num, reason=error.message))
    except (csv.Error, UnicodeDecodeError) as error:
        reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise InvalidInput("file", f"cannot be read after line {reader.line_num}: {reason}.") from error
    if not rows and not problems:
        raise InvalidInput("file", "there is no user in it.", fix="Check the list.")
    return rows, problems


def _cells(record: Mapping[Any, Any]) -> dict[str, str]:
    # A row with fields too many holds them under None; one with too few has None in their place.
    if None in record or None in record.values():
        raise InvalidInput("row", "has more or fewer fields than the first line.")
    # Of spaces alone: a line break in a cell is for the gate to see.
    return {name: record[name].strip(" ") for name in _COLUMNS if name in record}


def _as_user(row: Row[Any]) -> User:
    return User(id=str(row.id), email=row.email, username=row.username, first_name=row.first_name)
