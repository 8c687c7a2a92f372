"""User directories: the service's own database, or a table of mailctl's if there is none."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from mailctl.delivery_log.opening import missing_log_error
from mailctl.domain.models import RowProblem, User
from mailctl.errors import ConfigurationError
from mailctl.settings.database_detection import describe_database_signs
from mailctl.users.embedded import EmbeddedUserDirectory, ImportReport
from mailctl.users.screening import ExcludedUser, Screening, screening_for
from mailctl.users.service_database import ServiceUserDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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


#: The number of users that `list_users` returns from a service's database.
MAX_LISTED = 100


@dataclass(frozen=True, kw_only=True)
class UserList:
    """A list of users."""

    users: Sequence[User]
    #: User records that cannot be used.
    problems: Sequence[RowProblem] = ()
    #: Whether there are more users.
    is_truncated: bool = False


class UserDirectory(Protocol):
    """Provides users by id."""

    def get(self, user_id: str, *, screening: Screening = Screening.NONE) -> User:
        """Return the user with an id.

        Args:
            user_id: the id as text.
            screening: which users are refused.

        Raises:
            NotFound: there is no such user.
            Refused: the user is inactive, deleted or the like.
            InvalidInput: the id or the stored address of the user is invalid.
            ConfigurationError: the settings for users are wrong.
            UserDirectoryUnavailable: the service's database cannot be reached.
            LogUnavailable: the delivery log's database with mailctl's own table cannot be reached.
        """

    def find_record(self, user_id: str) -> Mapping[str, object]:
        """Return the record of a user as the database has it, by column; raises what `get` raises.

        With MAILCTL_USERS_QUERY, the columns are those that the query returns.
        """

    def iter_users(
        self, *, screening: Screening = Screening.NONE
    ) -> Iterator[User | RowProblem | ExcludedUser]:
        """Iterate over all users, including excluded ones and unusable records; raises what `get` raises.

        Args:
            screening: which users are excluded.
        """

    def has_no_eligibility_columns(self) -> bool:
        """Whether no column says which users are inactive, so that none is excluded; raises like `get`."""

    def describe(self) -> str:
        """Return the source and number of users in one line; raises what `get` raises."""

    def close(self) -> None:
        """Close the connections."""


def open_user_directory(
    settings: Settings, log_engine: Engine
) -> ServiceUserDirectory | EmbeddedUserDirectory:
    """Return the directory of DATABASE_URL, or else of mailctl's own table, without connecting."""
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        return ServiceUserDirectory(
            url, query=settings.mailctl_users_query, list_query=settings.mailctl_users_list_query
        )
    signs = settings.database_signs
    unknown_database = describe_database_signs(signs) if signs else ""
    return EmbeddedUserDirectory(
        log_engine,
        with_demo_users=settings.debug,
        unknown_database=unknown_database,
        find_log_error=partial(missing_log_error, log_engine, settings),
    )


def require_embedded_directory(
    directory: ServiceUserDirectory | EmbeddedUserDirectory,
) -> EmbeddedUserDirectory:
    """Return the directory of mailctl's own table, which can be changed.

    Raises:
        ConfigurationError: the users are in the service's own database, which mailctl only reads.
    """
    if isinstance(directory, EmbeddedUserDirectory):
        return directory
    raise ConfigurationError(
        "The users are in the database of the service, which mailctl only reads.",
        fix="Change them there, or unset DATABASE_URL.",
    )


def list_users(directory: ServiceUserDirectory | EmbeddedUserDirectory) -> UserList:
    """Return all users of mailctl's own table, or the first ones of the service's database."""
    if isinstance(directory, EmbeddedUserDirectory):
        return UserList(users=directory.list_users())
    rows = list(islice(directory.iter_users(), MAX_LISTED + 1))
    return UserList(
        users=[row for row in rows[:MAX_LISTED] if isinstance(row, User)],
        problems=[row for row in rows[:MAX_LISTED] if isinstance(row, RowProblem)],
        is_truncated=len(rows) > MAX_LISTED,
    )
