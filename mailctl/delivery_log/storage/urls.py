"""URLs of databases: parsed from the settings, converted for engines, and masked for display."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import URL, make_url

from mailctl.errors import ConfigurationError
from mailctl.settings.connection_urls import DatabaseUrl, InvalidUrl
from mailctl.settings.connection_urls.options import ASYNCPG_OPTIONS

if TYPE_CHECKING:
    from mailctl.settings import Settings

#: The synchronous driver of each backend.
_SYNC_DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
#: Options that hold a secret.
_SECRET_OPTIONS = ("password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")


def parse_url(url: str, *, setting: str) -> URL:
    """Return a database URL with a synchronous driver in place of `+asyncpg`, `+aiosqlite` and the like.

    Args:
        url: as the user has written it.
        setting: the setting that has it, for error messages.

    Raises:
        ConfigurationError: it is not the URL of a database.
    """
    try:
        parsed = make_url(DatabaseUrl(url).get_secret_value())
    except InvalidUrl as error:
        raise ConfigurationError(f"{setting} {error}", fix=error.fix) from None
    backend, _, driver = parsed.drivername.partition("+")
    if driver == "asyncpg":
        parsed = _to_libpq_options(parsed)
    return parsed.set(drivername=_SYNC_DRIVERS.get(backend, parsed.drivername))


def _to_libpq_options(url: URL) -> URL:
    sslmode = url.query.get("ssl")
    url = url.difference_update_query(ASYNCPG_OPTIONS)
    return url.update_query_dict({"sslmode": sslmode}) if sslmode else url


def delivery_log_url(settings: Settings) -> URL:
    """Return the URL of the delivery log."""
    if settings.mailctl_database_url is not None:
        return parse_url(settings.log_url, setting="MAILCTL_DATABASE_URL")
    return sqlite_url(settings.mailctl_home / "mailctl.db")


def sqlite_url(path: Path) -> URL:
    """Return the URL of a SQLite file, whatever characters its name has."""
    return URL.create("sqlite", database=str(path.absolute()))


def mask_url(url: URL) -> str:
    """Return a URL for display, without passwords and other secrets."""
    return url.difference_update_query(_SECRET_OPTIONS).render_as_string(hide_password=True)


def is_same_database(one: URL, other: URL) -> bool:
    """Whether two URLs lead to the same database, whatever driver and user they name."""

    def identity(url: URL) -> tuple[object, ...]:
        backend = url.get_backend_name()
        if backend == "sqlite":
            return (backend, Path(url.database or "").absolute())
        default_port = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306}.get(backend)
        return (backend, url.host or "localhost", url.port or default_port, url.database)

    return identity(one) == identity(other)
