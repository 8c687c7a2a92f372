"""Signs of a service's database: settings from which services often build the URL of their database."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from mailctl.errors import ConfigurationError
from mailctl.settings.env_file import read_env_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NAME = re.compile(
    r"(?:.*_)?(?:POSTGRES|POSTGRESQL|MYSQL|MARIADB|MSSQL|MONGO|MONGODB|SQL|RDS|DB|DATABASE|SQLALCHEMY"
    r"|SQLALCHEMY_DATABASE)__?(?:HOST|HOSTNAME|SERVER|NAME|DB|DATABASE|URL|URI|DSN|USER|USERNAME|PASSWORD|PASS|PORT)"
    r"|PGHOST|PGDATABASE|PGSERVICE|DJANGO_SETTINGS_MODULE",
    re.IGNORECASE,
)
#: The beginning of the URL of a database, under any name.
_URL = re.compile(r"(?:postgres|postgresql|mysql|mariadb|mssql|oracle|mongodb)(?:\+\w+)?://", re.IGNORECASE)
#: Names of other programs and of mailctl, which do not indicate a database of the service.
_OTHERS = re.compile(r"(?:MAILCTL|REDIS|CELERY|FLOWER|RABBITMQ|DATABASE_URL$)", re.IGNORECASE)
#: The maximum number of names that a message lists.
_MAX_NAMED = 3


def find_database_signs(env_file: Path) -> tuple[str, ...]:
    """Return the names in the environment and a `.env` file that indicate a database of the service.

    Args:
        env_file: the file, which need not exist.
    """
    try:
        in_file = read_env_file(env_file, required=False, known=())
    except ConfigurationError:
        in_file = {}  # `Settings.load` has reported it, if it was to be read
    return _signs({**in_file, **os.environ})


def _signs(values: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(
        name
        for name, value in sorted(values.items())
        if value and not _OTHERS.match(name) and (_NAME.fullmatch(name) or _URL.match(value))
    )


def describe_database_signs(names: tuple[str, ...]) -> str:
    """Return a sentence that lists names which indicate a database, although DATABASE_URL is not set."""
    shown = ", ".join(names[:_MAX_NAMED]) + (", …" if len(names) > _MAX_NAMED else "")
    verb = "is" if len(names) == 1 else "are"
    return f"{shown} {verb} set, so the service seems to have a database, but DATABASE_URL is not set."
