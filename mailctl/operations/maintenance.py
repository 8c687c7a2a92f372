"""Maintenance of the delivery log: schema version, encryption keys, pruning."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log import rekey as rekeying
from mailctl.delivery_log.opening import open_delivery_log, open_log, open_log_for_reading
from mailctl.delivery_log.retention import PrunableCounts, Retention
from mailctl.delivery_log.storage import schema_version as schema
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.delivery_log.storage.partitions.condition import find_layout
from mailctl.errors import ConfigurationError
from mailctl.security.keyring import Keyring

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.delivery_log.rekey import RekeyResult
    from mailctl.delivery_log.storage.schema_version import SchemaVersion
    from mailctl.runtime import Runtime
    from mailctl.settings import Settings

#: How long the contents of unsent emails are kept by default.
DEFAULT_CONTENTS_RETENTION = timedelta(days=30)


def schema_version(settings: Settings) -> SchemaVersion:
    """Return the schema version of the delivery log, and the version that this mailctl needs.

    Raises:
        LogMissing: the delivery log does not exist.
        LogUnavailable: the delivery log cannot be reached.
    """
    with open_log_for_reading(settings, any_version=True) as engine:
        layout = find_layout(engine)
        return replace(schema.read_version(engine), partition_days=layout.days if layout else None)


def upgrade_schema(settings: Settings) -> SchemaVersion:
    """Upgrade the schema of the delivery log to the version that this mailctl needs; return the old version.

    Raises:
        ConfigurationError: the schema is newer than this mailctl.
        LogUnavailable: the delivery log cannot be reached or written.
    """
    with open_log(settings) as engine:
        return schema.create_or_upgrade(engine)


def rekey(settings: Settings, *, dry_run: bool = False) -> Iterator[RekeyResult]:
    """Encrypt with SECRET_KEY what older keys have encrypted; yield the result of each small transaction.

    Older keys may be too weak for anything else.

    Args:
        settings: the delivery log and the keys.
        dry_run: count only, change nothing.

    Raises:
        ConfigurationError: SECRET_KEY is too weak for production, or the delivery log is not usable.
        LogMissing: there is no delivery log.
        LogUnavailable: the delivery log cannot be read or written.
    """
    keyring = Keyring(settings.content_keys)
    engine = open_delivery_log(settings, AccessMode.READ if dry_run else AccessMode.UPDATE)
    try:
        yield from rekeying.rekey(engine, keyring, dry_run=dry_run)
    finally:
        engine.dispose()


class Pruner:
    """Deletes old finished emails, and the content of old unsent ones.

    Args:
        runtime: the components of this process.
        older_than: how long emails and their events are kept.
        contents_older_than: how long the content of unsent emails is kept; that of sent ones is
            deleted when they are sent. None means 30 days, or `older_than` if that is shorter.

    Raises:
        ConfigurationError: contents would be kept longer than their emails.
    """

    def __init__(
        self, runtime: Runtime, *, older_than: timedelta, contents_older_than: timedelta | None = None
    ) -> None:
        contents_kept = contents_older_than
        if contents_kept is None:
            contents_kept = min(older_than, DEFAULT_CONTENTS_RETENTION)
        if contents_kept > older_than:
            raise ConfigurationError(
                "The content of emails cannot be kept longer than the emails.",
                fix="Give a shorter --contents-older-than.",
            )
        now = runtime.clock()
        self._retention = Retention(runtime.engine)
        self._emails_before = now - older_than
        self._contents_before = now - contents_kept

    def count(self) -> PrunableCounts:
        """Return how many emails and contents would be deleted."""
        return self._retention.count(contents_before=self._contents_before, emails_before=self._emails_before)

    def run(self) -> Iterator[int]:
        """Delete them in small transactions; yield the number of emails that each changed."""
        return self._retention.prune(contents_before=self._contents_before, emails_before=self._emails_before)
