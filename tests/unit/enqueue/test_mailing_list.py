"""Lists of recipients, read from files and from the directory of users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from mailctl.domain.models import RowProblem, User
from mailctl.domain.recipient_list import RecipientRow
from mailctl.enqueue.mailing_list import MailingList, read_all_users, read_list_file
from mailctl.errors import InvalidInput, Refused
from mailctl.users import ExcludedUser, Screening

if TYPE_CHECKING:
    from collections.abc import Iterator

CSV = b"email,name\nada@example.com,Ada\nnobody\nzoe@example.com,Zoe\n"


@dataclass
class Directory:
    """A directory of fixed users."""

    users: list[Any]
    is_blind: bool = False

    def iter_users(self, *, screening: Screening) -> Iterator[Any]:
        """Return all users."""
        return iter(self.users)

    def has_no_eligibility_columns(self) -> bool:
        """Return whether no column says who is deactivated."""
        return self.is_blind


def read(*users: Any, is_blind: bool = False, screening: Screening = Screening.FULL) -> MailingList:
    directory: Any = Directory(list(users), is_blind=is_blind)
    return read_all_users(directory, screening=screening)


class TestFiles:
    """A file is read once and can be iterated again."""

    def test_rows_and_problems_are_counted(self) -> None:
        """Rows keep the order of the file."""
        found = read_list_file(CSV)
        assert (found.recipient_count, found.problem_count, found.size) == (2, 1, 3)
        assert [isinstance(row, RowProblem) for row in found.rows] == [False, True, False]

    def test_a_sample_shows_the_first_recipients(self) -> None:
        """The sample has the first five recipients."""
        lines = b"".join(b"user%d@example.com\n" % n for n in range(20))
        sample = read_list_file(b"email\n" + lines).sample
        assert [row.email for row in sample] == [f"user{n}@example.com" for n in range(5)]

    def test_a_list_without_rows_is_refused(self) -> None:
        """A file that has only a header is most likely a mistake."""
        with pytest.raises(InvalidInput, match="--users-file contains no recipients"):
            read_list_file(b"email\n").refuse_empty(field="--users-file")

    def test_a_list_of_bad_rows_is_not_empty(self) -> None:
        """A list of bad rows is not refused as empty, because each row is reported."""
        read_list_file(b"email\nnobody\n").refuse_empty(field="--users-file")

    @pytest.mark.parametrize("limit", [2, 3])
    def test_a_list_may_have_as_many_recipients_as_expected(self, limit: int) -> None:
        """The limit counts recipients, not bad rows."""
        read_list_file(CSV).refuse_more_than(limit)

    def test_a_longer_list_is_refused(self) -> None:
        """The error names the number of recipients and the limit."""
        with pytest.raises(Refused, match="2 recipients, more than --max 1"):
            read_list_file(CSV).refuse_more_than(1)


class TestAllUsers:
    """The list of all users is a snapshot that can be iterated again."""

    def test_it_has_the_users_with_the_names_that_greet_them(self) -> None:
        """The greeting uses the first name, then the username, and nothing that is unsafe to print."""
        found = read(
            User(id="1", email="ada@example.com", first_name="Ada", username="ada99"),
            User(id="2", email="zoe@example.com", username="zoe"),
            User(id="3", email="eve@example.com", first_name="http://evil.example"),
        )
        rows = [row for row in found.rows if isinstance(row, RecipientRow)]
        assert [(row.user_id, row.name) for row in rows] == [("1", "Ada"), ("2", "zoe"), ("3", "")]
        assert list(found.rows) == rows, "it can be read again"
        assert found.sample == tuple(rows)

    def test_bad_users_are_rows_too(self) -> None:
        """A user whose data cannot be used is a bad row at its place."""
        problem = RowProblem(line=2, reason="has no address.")
        found = read(User(id="1", email="ada@example.com"), problem)
        assert list(found.rows)[1] == problem
        assert (found.recipient_count, found.problem_count) == (1, 1)

    def test_excluded_users_are_counted_by_reason(self) -> None:
        """Excluded users are counted and left out of the rows."""
        found = read(ExcludedUser(reason="is deleted"), ExcludedUser(reason="is deleted"))
        assert dict(found.excluded_by_reason) == {"is deleted": 2}
        assert found.size == 0

    @pytest.mark.parametrize(
        ("is_blind", "screening", "is_unscreened"),
        [
            (True, Screening.FULL, True),
            (False, Screening.FULL, False),
            (True, Screening.NONE, False),
        ],
    )
    def test_it_says_if_nobody_could_be_excluded(
        self, *, is_blind: bool, screening: Screening, is_unscreened: bool
    ) -> None:
        """The list is unscreened if screening was wanted and no column allows it."""
        assert read(is_blind=is_blind, screening=screening).is_unscreened is is_unscreened
