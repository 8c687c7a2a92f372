"""The user directory in a table of mailctl's, next to the delivery log, for use without a service."""

from __future__ import annotations

import csv
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update

from mailctl.delivery_log.storage.engine import reading, writing
from mailctl.delivery_log.storage.tables import users
from mailctl.delivery_log.storage.urls import mask_url
from mailctl.domain.address_validation import validate_address
from mailctl.domain.models import RowProblem, User
from mailctl.domain.spreadsheet_cells import unmark_formula
from mailctl.domain.validation import validate_display_name
from mailctl.errors import ConfigurationError, InvalidInput, LogMissing, NotFound, Refused
from mailctl.timefmt import pluralize
from mailctl.users.screening import ExcludedUser, Screening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TextIO

    from sqlalchemy import Connection, Engine, Row

#: The number of rows that an import writes in one transaction; other writers wait for it.
IMPORT_CHUNK = 500
UNKNOWN_DATABASE_FIX = (
    "Set DATABASE_URL, such as postgresql://USER:PASSWORD@HOST:PORT/DATABASE, or add users to mailctl's own"
    " table: `mailctl users add`."
)
_COLUMNS = ("id", "email", "username", "first_name")
_MAX_ID = 2**31 - 1
_DEMO_USERS: tuple[dict[str, Any], ...] = (
    {"id": 1, "email": "ada@example.com", "username": "ada", "first_name": "Ada"},
    {"id": 2, "email": "grace@example.com", "username": "grace", "first_name": "Grace"},
    {"id": 3, "email": "alan@example.com", "username": "alan", "first_name": "Alan"},
)


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """The result of an import."""

    added: int = 0
    updated: int = 0
    problems: tuple[RowProblem, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _CheckedRow:
    line: int
    #: The values of the columns that the file has.
    values: Mapping[str, Any]


class EmbeddedUserDirectory:
    """Stores users in the table `mailctl_users` of the delivery log's database.

    Every method raises `LogUnavailable` if the database cannot be reached.

    Args:
        engine: the engine of the delivery log, whose schema is current; the directory does not close it.
        with_demo_users: whether an empty table appears to contain three users at example.com; the first
            change writes them.
        unknown_database: a sentence that says that the service has a database with its users; "" if not. Then
            an empty table has no demo users, and looking there is refused.
        find_log_error: returns the error that there is no log, and so no table; None if there is one.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        with_demo_users: bool,
        unknown_database: str = "",
        find_log_error: Callable[[], LogMissing | None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._with_demo_users = with_demo_users and not unknown_database
        self._unknown_database = unknown_database
        self._find_log_error = find_log_error

    def get(self, user_id: str, *, screening: Screening = Screening.NONE) -> User:
        """Return the user with an id; there are no inactive users.

        Raises:
            NotFound: there is no such user.
            LogMissing: nor is there a delivery log.
            InvalidInput: the id is not a number.
            ConfigurationError: the table is empty, and the service has a database with its users.
        """
        del screening
        self._refuse_unknown_database()
        number = _parse_id(user_id)
        with reading(self._engine) as connection:
            row = connection.execute(select(users).where(users.c.id == number)).first()
            found = [_as_user(row)] if row else self._demo_users(connection)
        for user in found:
            if user.id == str(number):
                return user
        self._require_log(f"no user {user_id}")
        raise NotFound(f"There is no user {user_id} in table {users}.", fix="Run `mailctl users list`.")

    def find_record(self, user_id: str) -> Mapping[str, object]:
        """Return the record of a user by column; nothing if the table has no such user.

        A service without DATABASE_URL has users of its own, which are not in this table.
        """
        try:
            user = self.get(user_id)
        except (NotFound, InvalidInput):
            return {}
        return {**vars(user), "id": _parse_id(user_id)}

    def describe(self) -> str:
        """Return the source and number of users in one line."""
        with reading(self._engine) as connection:
            count = connection.execute(select(func.count()).select_from(users)).scalar_one()
            count = count or len(self._demo_users(connection))
        return f"table {users} in {mask_url(self._engine.url)}, {pluralize(count, 'user')}"

    def close(self) -> None:
        """Do nothing, because the engine belongs to the delivery log."""

    def iter_users(
        self, *, screening: Screening = Screening.NONE
    ) -> Iterator[User | RowProblem | ExcludedUser]:
        """Iterate over all users by id; there are no inactive users."""
        del screening
        yield from self.list_users()

    def has_no_eligibility_columns(self) -> bool:
        """Return False, because all users of the table are active."""
        return False

    def list_users(self) -> Sequence[User]:
        """Return all users by id.

        Raises:
            LogMissing: there is none, and no delivery log.
            ConfigurationError: as from `get`.
        """
        self._refuse_unknown_database()
        with reading(self._engine) as connection:
            found = [_as_user(row) for row in connection.execute(select(users).order_by(users.c.id))]
            found = found or [*self._demo_users(connection)]
        if not found:
            self._require_log("no user")
        return found

    def add(
        self,
        email: str,
        username: str = "",
        first_name: str = "",
        id: str | None = None,
    ) -> User:
        """Add a user and return it, with the next free id if none is given.

        Raises:
            InvalidInput: a value is invalid.
            Refused: another user has the address or the id.
        """
        values = _validate_row(
            {"id": id or "", "email": email, "username": username, "first_name": first_name}
        )
        with self._writing() as connection:
            ids = _ids_by_email(connection, [values["email"]])
            taken = ids.get(values["email"].lower()) or _known_id(connection, values.get("id"))
            if taken is not None:
                what = "this address" if ids else "this id"
                raise Refused(f"User {taken} already has {what}.", fix="Run `mailctl users list`.")
            return _as_user(_insert(connection, values))

    def import_csv(self, stream: TextIO) -> ImportReport:
        """Add the users of a CSV file; users with a known id or address are updated.

        The first line names the columns: `email`, and optionally `id`, `username` and `first_name`. Rows that
        cannot be used are reported and skipped.

        Raises:
            InvalidInput: the file is not CSV or not UTF-8, or has no column `email` or no row.
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

    def _refuse_unknown_database(self) -> None:
        if not self._unknown_database:
            return
        with reading(self._engine) as connection:
            if _is_empty(connection):
                raise ConfigurationError(self._unknown_database, fix=UNKNOWN_DATABASE_FIX)

    def _require_log(self, what: str) -> None:
        """Raise if there is no delivery log: its address may be wrong, and the user elsewhere."""
        error = self._find_log_error()
        if error is not None:
            missing = f"{error.message[:1].lower()}{error.message[1:].rstrip('.')}"
            raise LogMissing(
                f"There is {what}, because {missing} with a table {users}.", fix=error.fix
            ) from error

    def _demo_users(self, connection: Connection) -> Sequence[User]:
        """Return the users that an empty table appears to contain."""
        if not self._with_demo_users or not _is_empty(connection):
            return []
        return [User(**{**values, "id": str(values["id"])}) for values in _DEMO_USERS]

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with writing(self._engine) as connection:
            if connection.dialect.name == "postgresql":
                # One writer at a time, as in SQLite, keeps ids and addresses unique. Readers do not wait.
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
    """Return the validated values of a row, without an id if none is given."""
    checked: dict[str, Any] = {"email": validate_address(values["email"])}
    if values.get("id"):
        checked["id"] = _parse_id(values["id"])
    for name in ("username", "first_name"):
        if name in values:
            checked[name] = validate_display_name(values[name], field=name)
    return checked


def _ids_by_email(connection: Connection, emails: Sequence[str]) -> dict[str, int]:
    """Return the ids of the users with one of the addresses, by address in lower case."""
    lower = func.lower(users.c.email)
    found = select(lower.label("email"), users.c.id).where(lower.in_([email.lower() for email in emails]))
    return {row.email: row.id for row in connection.execute(found)}


def _known_id(connection: Connection, number: int | None) -> int | None:
    return connection.execute(select(users.c.id).where(users.c.id == number)).scalar() if number else None


def _insert(connection: Connection, values: Mapping[str, Any]) -> Row[Any]:
    # PostgreSQL's sequence does not account for ids that were inserted explicitly.
    following = connection.execute(select(func.coalesce(func.max(users.c.id), 0) + 1)).scalar_one()
    return connection.execute(insert(users).values({"id": following, **values}).returning(users)).one()


def _upsert(
    connection: Connection, row: _CheckedRow, ids: dict[str, int], report: ImportReport
) -> ImportReport:
    """Write a row, and update `ids`, the ids by address."""
    email, given = row.values["email"].lower(), row.values.get("id")
    owner = ids.get(email)
    if owner is not None and given not in (None, owner):
        problem = RowProblem(line=row.line, reason=f"user {owner} already has this address.")
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
        # Spreadsheets write a byte order mark, which reading as plain UTF-8 keeps.
        names = [name.removeprefix("\ufeff").strip().lower() for name in reader.fieldnames or ()]
        if "email" not in names:
            raise InvalidInput(
                "file", "must have a column email in its first line.", fix="Start it with: email,username"
            )
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
        raise InvalidInput("file", "contains no user.", fix="Check the file.")
    return rows, problems


def _cells(record: Mapping[Any, Any]) -> dict[str, str]:
    # The csv module stores surplus fields under the key None, and None for missing fields.
    if None in record or None in record.values():
        raise InvalidInput("row", "has more or fewer fields than the first line.")
    # Only spaces: a line break in a cell must reach validation.
    return {name: unmark_formula(record[name].strip(" ")) for name in _COLUMNS if name in record}


def _as_user(row: Row[Any]) -> User:
    return User(id=str(row.id), email=row.email, username=row.username, first_name=row.first_name)
