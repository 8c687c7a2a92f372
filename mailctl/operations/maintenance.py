"""Looking after the delivery log itself: its schema, and how long it remembers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mailctl.delivery_log import rekey as rekeying
from mailctl.delivery_log.retention import PrunableCounts, Retention
from mailctl.delivery_log.storage import schema_version as schema
from mailctl.errors import ConfigurationError
from mailctl.runtime import open_log, open_log_for_reading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.delivery_log.rekey import RekeyResult
    from mailctl.delivery_log.storage.schema_version import SchemaVersion
    from mailctl.runtime import Runtime
    from mailctl.settings import Settings


def schema_version(settings: Settings) -> SchemaVersion:
    """Return the version of the log's schema, and the one that this mailctl works with.

    Raises:
        LogMissing: there is no log.
        LogUnavailable: the log cannot be reached.
    """
    with open_log_for_reading(settings, any_version=True) as engine:
        return schema.read_version(engine)


def upgrade_schema(settings: Settings) -> SchemaVersion:
    """Bring the log's schema to the version that this mailctl works with; return the version it had.

    Raises:
        ConfigurationError: it is newer than this mailctl.
        LogUnavailable: the log cannot be reached or written.
    """
    with open_log(settings) as engine:
        return schema.create_or_upgrade(engine)


def rekey(runtime: Runtime, *, dry_run: bool = False) -> Iterator[RekeyResult]:
    """Seal with SECRET_KEY what earlier keys have sealed; yields what each small transaction found.

    Args:
        runtime: the parts of this process.
        dry_run: only look.

    Raises:
        LogUnavailable: the log cannot be read or written.
    """
    return rekeying.rekey(runtime.engine, runtime.keyring, dry_run=dry_run)


class Pruner:
    """Forgetting what is finished and old.

    Args:
        runtime: the parts of this process.
        older_than: how long emails and their events are kept.
        contents_older_than: how long the content of emails is kept that were not delivered; that of
            delivered ones goes at once.

    Raises:
        ConfigurationError: contents would outlive their emails.
    """

    def __init__(self, runtime: Runtime, *, older_than: timedelta, contents_older_than: timedelta) -> None:
        if contents_older_than > older_than:
            raise ConfigurationError(
                "Contents cannot be kept longer than their emails.",
                fix="Give a shorter --contents-older-than.",
            )
        now = datetime.now(UTC)
        self._retention = Retention(runtime.engine)
        self._emails_before = now - older_than
        self._contents_before = now - contents_older_than

    def count(self) -> PrunableCounts:
        """Return how much there is to forget."""
        return self._retention.count(contents_before=self._contents_before, emails_before=self._emails_before)

    def run(self) -> Iterator[int]:
        """Forget it, in small transactions; yields how many emails each touched."""
        return self._retention.prune(contents_before=self._contents_before, emails_before=self._emails_before)
