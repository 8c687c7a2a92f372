"""Who the users are: the service's own database, or a small table of ours where there is none."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from mailctl.domain.models import RowProblem, User
from mailctl.errors import ConfigurationError
from mailctl.users.embedded import EmbeddedUserDirectory, ImportReport
from mailctl.users.screening import ExcludedUser, Screening, screening_for
from mailctl.users.service_database import ServiceUserDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Engine

    from mailctl.settings import Settings

__all__ = [
    "MAX_LISTED",
    "EmbeddedUserDirectory",
    "ExcludedUser",
    "ImportReport",
    "Screening",
    "ServiceUserDirectory",
    "UserDirectory",
    "UserList",
    "list_users",
    "open_user_directory",
    "require_embedded_directory",
    "screening_for",
]


#: How many users of a service are listed: there may be millions.
MAX_LISTED = 100


@dataclass(frozen=True, kw_only=True)
class UserList:
    """Users, to be looked at."""

    users: Sequence[User]
    #: Users that cannot be mailed to.
    problems: Sequence[RowProblem] = ()
    #: Whether there are more.
    is_truncated: bool = False


class UserDirectory(Protocol):
    """Where users are looked up."""

    def get(self, user_id: str, *, screening: Screening = Screening.NONE) -> User:
        """Return the user with that id.

        Args:
            screening: who is refused.

        Raises:
            NotFound: there is none.
            Refused: the user is deactivated, deleted or the like.
            InvalidInput: the id cannot be one, or the user's stored address cannot be mailed to.
            ConfigurationError: users cannot be looked up as the settings stand.
            ServiceUnavailable: the database cannot be reached: DirectoryUnavailable for the service's own,
                LogUnavailable for the table that stands in the delivery log's.
        """

    def iter_users(
        self, *, screening: Screening = Screening.NONE
    ) -> Iterator[User | RowProblem | ExcludedUser]:
        """Go through all users, those that cannot be mailed to as problems; raises what `get` does.

        Args:
            screening: who is left out.
        """

    def has_no_eligibility_columns(self) -> bool:
        """Whether nobody can be left out, as no column says who is deactivated; raises what `get` does."""

    def describe(self) -> str:
        """Return one line that says where users come from, and how many there are; raises what `get` does."""

    def close(self) -> None:
        """Close what was opened."""


def open_user_directory(
    settings: Settings, log_engine: Engine
) -> ServiceUserDirectory | EmbeddedUserDirectory:
    """Return the service's database where DATABASE_URL names one, else our own table; asks neither yet."""
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        return ServiceUserDirectory(
            url, query=settings.mailctl_users_query, list_query=settings.mailctl_users_list_query
        )
    return EmbeddedUserDirectory(log_engine, with_demo_users=settings.debug)


def require_embedded_directory(
    directory: ServiceUserDirectory | EmbeddedUserDirectory,
) -> EmbeddedUserDirectory:
    """Return the directory as one that can be changed.

    Raises:
        ConfigurationError: the users live in the service's own database, which is only read.
    """
    if isinstance(directory, EmbeddedUserDirectory):
        return directory
    raise ConfigurationError(
        "The users live in the database of the service, which mailctl only reads.",
        fix="Change them there, or leave DATABASE_URL unset.",
    )


def list_users(directory: ServiceUserDirectory | EmbeddedUserDirectory) -> UserList:
    """Return all users of our own table, or the first of the service's; raises what `Directory.get` does."""
    if isinstance(directory, EmbeddedUserDirectory):
        return UserList(users=directory.list_users())
    rows = list(islice(directory.iter_users(), MAX_LISTED + 1))
    return UserList(
        users=[row for row in rows[:MAX_LISTED] if isinstance(row, User)],
        problems=[row for row in rows[:MAX_LISTED] if isinstance(row, RowProblem)],
        is_truncated=len(rows) > MAX_LISTED,
    )
