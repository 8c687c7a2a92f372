"""Whom a campaign goes to: the rows of a file, or all users."""

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
#: Bytes of all users that are kept in memory; more are kept in a file without a name.
_MAX_MEMORY_BYTES = 8 * 1024 * 1024
_SAMPLE_SIZE = 5


@dataclass(frozen=True, kw_only=True)
class MailingList:
    """The rows of a list, which can be gone through more than once."""

    rows: Iterable[Row]
    #: How many recipients there are.
    recipient_count: int
    #: How many rows cannot be used.
    problem_count: int
    #: The first recipients.
    sample: tuple[RecipientRow, ...]
    #: How many users are not to be mailed, by the reason.
    excluded_by_reason: Counter[str] = field(default_factory=Counter)
    #: Whether nobody could be left out, as nothing says who is deactivated.
    is_unscreened: bool = False

    @property
    def size(self) -> int:
        """How many rows there are."""
        return self.recipient_count + self.problem_count

    def refuse_empty(self, *, field: str) -> None:
        """Refuse a list that names nobody, such as a file that was exported without its rows.

        Raises:
            InvalidInput: it has no row.
        """
        if not self.size:
            raise InvalidInput(field, "there is no recipient in it; nothing is sent.", fix="Check the list.")

    def refuse_more_than(self, most: int) -> None:
        """Refuse a list that is longer than an operator expects.

        Raises:
            Refused: it has more recipients.
        """
        if self.recipient_count > most:
            raise Refused(
                f"The list has {pluralize(self.recipient_count, 'recipient')}, more than --max {most}; "
                "nothing is sent.",
                fix="Check the list, or raise --max.",
            )


def read_list_file(data: bytes) -> MailingList:
    """Return the list that a file holds.

    Raises:
        InvalidInput: it cannot be read; see `read_recipients`.
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
    """Return all users as a list, as they are at this moment; the directory is not held up after that.

    Args:
        screening: who is left out.

    Raises:
        ConfigurationError: users cannot be listed as the settings stand.
        DirectoryUnavailable: their database cannot be reached.
    """
    spool, left_out = _Spool(), Counter[str]()
    for number, user in enumerate(directory.iter_users(screening=screening), start=1):
        if isinstance(user, ExcludedUser):
            left_out[user.reason] += 1
        else:
            spool.add(user if isinstance(user, RowProblem) else _recipient(user, line=number))
    return MailingList(
        rows=spool,
        recipient_count=spool.recipients,
        problem_count=spool.problems,
        sample=tuple(spool.sample),
        excluded_by_reason=left_out,
        is_unscreened=screening is not Screening.NONE and directory.has_no_eligibility_columns(),
    )


def _recipient(user: User, *, line: int) -> RecipientRow:
    # Users name themselves: an email does not fail for it, it greets without the name.
    name = validation.safe_greeting_name(user.first_name or user.username)
    return RecipientRow(line=line, user_id=user.id, email=user.email, name=name)


class _Spool:
    """Keeps rows on disk, so that a million users do not take up memory."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_MAX_MEMORY_BYTES)  # noqa: SIM115 - closed with this object
        weakref.finalize(self, self._file.close)
        self.recipients = 0
        self.problems = 0
        self.sample: list[RecipientRow] = []

    def add(self, row: Row) -> None:
        """Add a row."""
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
