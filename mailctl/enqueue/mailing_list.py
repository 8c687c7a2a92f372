"""The recipients of a campaign: the rows of a file, or all users."""

from __future__ import annotations

import json
import tempfile
import weakref
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailctl.domain import validation
from mailctl.domain.models import RowProblem
from mailctl.domain.recipient_list import RecipientRow, read_recipients
from mailctl.errors import InvalidInput, Refused
from mailctl.timefmt import pluralize
from mailctl.users import ExcludedUser, Screening

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mailctl.domain.models import User
    from mailctl.users import UserDirectory

Row = RecipientRow | RowProblem
#: Bytes of users that are kept in memory; more than that spills to an unnamed temporary file.
_MAX_MEMORY_BYTES = 8 * 1024 * 1024
#: Recipients that are shown before the operator confirms.
_SAMPLE_SIZE = 5


@dataclass(frozen=True, kw_only=True)
class MailingList:
    """The rows of a list of recipients, which can be iterated more than once."""

    rows: Iterable[Row]
    #: The number of usable rows.
    recipient_count: int
    #: The number of rows that cannot be used.
    problem_count: int
    #: The first recipients.
    sample: tuple[RecipientRow, ...]
    #: The number of users that are excluded, by reason.
    excluded_by_reason: Counter[str] = field(default_factory=Counter)
    #: Whether no user could be excluded, because no column says which users are inactive.
    is_unscreened: bool = False

    @property
    def size(self) -> int:
        """The number of rows."""
        return self.recipient_count + self.problem_count

    def refuse_empty(self, *, field: str) -> None:
        """Refuse a list without rows, such as a file of which only the header was exported.

        Raises:
            InvalidInput: the list has no rows.
        """
        if not self.size:
            raise InvalidInput(field, "contains no recipients; nothing is sent.", fix="Check the list.")

    def refuse_more_than(self, limit: int) -> None:
        """Refuse a list that is longer than the operator expects.

        Raises:
            Refused: the list has more than `limit` recipients.
        """
        if self.recipient_count > limit:
            raise Refused(
                f"The list has {pluralize(self.recipient_count, 'recipient')}, more than --max {limit}; "
                "nothing is sent.",
                fix="Check the list, or raise --max.",
            )


def read_list_file(data: bytes) -> MailingList:
    """Return the list in a file, whose formats `read_recipients` describes.

    Args:
        data: the contents of the file.

    Raises:
        InvalidInput: the file cannot be parsed.
    """
    rows = list(read_recipients(data))
    recipients = [row for row in rows if isinstance(row, RecipientRow)]
    return MailingList(
        rows=rows,
        recipient_count=len(recipients),
        problem_count=len(rows) - len(recipients),
        sample=tuple(recipients[:_SAMPLE_SIZE]),
    )


def read_all_users(directory: UserDirectory, *, screening: Screening) -> MailingList:
    """Return a snapshot of all users as a list; the database of users is not used after that.

    Args:
        screening: which users are excluded.

    Raises:
        ConfigurationError: the settings do not allow listing users.
        UserDirectoryUnavailable: the database of users cannot be reached.
    """
    spool, excluded = _Spool(), Counter[str]()
    for number, user in enumerate(directory.iter_users(screening=screening), start=1):
        if isinstance(user, ExcludedUser):
            excluded[user.reason] += 1
        else:
            spool.add(user if isinstance(user, RowProblem) else _recipient(user, line=number))
    return MailingList(
        rows=spool,
        recipient_count=spool.recipients,
        problem_count=spool.problems,
        sample=tuple(spool.sample),
        excluded_by_reason=excluded,
        is_unscreened=screening is not Screening.NONE and directory.has_no_eligibility_columns(),
    )


def _recipient(user: User, *, line: int) -> RecipientRow:
    # Users choose their names: an unsafe one must not make the email fail, only leave it out of the greeting.
    name = validation.safe_greeting_name(user.first_name or user.username)
    return RecipientRow(line=line, user_id=user.id, email=user.email, name=name)


class _Spool:
    """Keeps rows in a temporary file, so that a million users do not fill the memory."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_MAX_MEMORY_BYTES)  # noqa: SIM115 - closed with this object
        weakref.finalize(self, self._file.close)
        self.recipients = 0
        self.problems = 0
        self.sample: list[RecipientRow] = []

    def add(self, row: Row) -> None:
        """Append a row."""
        if isinstance(row, RowProblem):
            self.problems += 1
            self._write([row.line, row.reason])
            return
        self.recipients += 1
        if len(self.sample) < _SAMPLE_SIZE:
            self.sample.append(row)
        self._write([row.line, row.user_id, row.email, row.name])

    def __iter__(self) -> Iterator[Row]:
        self._file.seek(0)
        for text in self._file:
            line, *values = json.loads(text)
            if len(values) == 1:
                yield RowProblem(line=line, reason=values[0])
            else:
                user_id, email, name = values
                yield RecipientRow(line=line, user_id=user_id, email=email, name=name)

    def _write(self, values: list[object]) -> None:
        self._file.write(json.dumps(values).encode() + b"\n")
