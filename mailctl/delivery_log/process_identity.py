"""The identity of a process: what must be the same in all processes that share a delivery log."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import literal_column, null, select

from mailctl.delivery_log.storage.engine import reading
from mailctl.delivery_log.storage.tables import log
from mailctl.settings.fingerprints import fingerprint_settings, fingerprint_templates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine

    from mailctl.security.keyring import Keyring
    from mailctl.settings import Settings


@dataclass(frozen=True, kw_only=True)
class ProcessIdentity:
    """The identity of a process, which its heartbeats contain."""

    #: The version of mailctl.
    version: str
    #: The fingerprints of its SECRET_KEY and of earlier ones that it still accepts, the newest first.
    keys: tuple[str, ...]
    #: host:port of its mail server; "" if it captures emails.
    mail_server: str
    #: The id of the delivery log that it has opened; None if that log has none.
    log_id: str | None
    #: The fingerprints of its settings that are not the defaults, by name (`settings.fingerprints`).
    settings: Mapping[str, str] = field(default_factory=dict)
    #: Its other mail servers, each as name (host:port).
    more_servers: tuple[str, ...] = ()
    #: The fingerprints of the service's own templates, by the names of their files.
    templates: Mapping[str, str] = field(default_factory=dict)

    @property
    def servers(self) -> tuple[str, ...]:
        """All of its mail servers; ("",) if it captures emails."""
        return (self.mail_server, *self.more_servers)

    @classmethod
    def from_json(cls, value: Any) -> ProcessIdentity | None:
        """Return the identity in a heartbeat; None if another version of mailctl has written it."""
        try:
            lists = {"keys": tuple(value["keys"]), "more_servers": tuple(value.get("more_servers", ()))}
            return cls(**{**value, **lists})
        except (AttributeError, TypeError, KeyError):
            return None

    def to_json(self) -> dict[str, Any]:
        """Return the identity as a heartbeat stores it."""
        lists = {"keys": list(self.keys), "more_servers": list(self.more_servers)}
        return {
            **asdict(self),
            **lists,
            "settings": dict(self.settings),
            "templates": dict(self.templates),
        }


def identify_process(
    engine: Engine, keyring: Keyring, settings: Settings, *, more_servers: tuple[str, ...] = ()
) -> ProcessIdentity:
    """Return the identity of this process.

    Args:
        engine: of the delivery log that it has opened.
        keyring: its secret keys.
        settings: its settings.
        more_servers: its other mail servers.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    # Imported here, because few commands need it.
    from importlib.metadata import version

    return ProcessIdentity(
        version=version("mailctl"),
        keys=keyring.fingerprints(),
        mail_server=settings.mail_server,
        log_id=read_log_mark(engine).id,
        settings=fingerprint_settings(settings),
        more_servers=more_servers,
        templates=fingerprint_templates(settings.mailctl_templates),
    )


#: A standby that takes over has the same numbers as its primary.
_PLACE = "(SELECT oid FROM pg_database WHERE datname = current_database()) || '/' || tableoid"


@dataclass(frozen=True, kw_only=True)
class LogMark:
    """The mark of a delivery log, which tells it from another one that is at the same address later."""

    #: The id of the log, which a copy of it shares; None if it has none.
    id: str | None
    #: The numbers of its database and table on PostgreSQL, which no restored copy shares; None elsewhere.
    place: str | None


def read_log_mark(engine: Engine) -> LogMark:
    """Return the mark of the delivery log that is there now.

    Args:
        engine: of the delivery log.

    Raises:
        LogUnavailable: the delivery log cannot be read.
    """
    place = literal_column(_PLACE) if engine.dialect.name == "postgresql" else null()
    with reading(engine) as connection:
        found = connection.execute(select(log.c.id, place)).first()
    return LogMark(id=None, place=None) if found is None else LogMark(id=str(found[0]), place=found[1])
