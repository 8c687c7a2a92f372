"""What a process works with: built once from the settings, opened when first asked for, closed in reverse."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from mailctl.delivery_log.attempt_results import AttemptResults
from mailctl.delivery_log.campaigns import Campaigns
from mailctl.delivery_log.circuits import Circuits
from mailctl.delivery_log.claims import Claims
from mailctl.delivery_log.foreign_messages import ForeignMessages
from mailctl.delivery_log.heartbeats import WorkerRegistry
from mailctl.delivery_log.opening import (
    DATABASE_URL_SETTING,
    describe_nearby_logs,
    is_stand_in,
    open_delivery_log,
    open_reader,
)
from mailctl.delivery_log.operator_actions import OperatorActions
from mailctl.delivery_log.outbox import Outbox
from mailctl.delivery_log.pauses import Pauses
from mailctl.delivery_log.queries.lookups import EmailLookups
from mailctl.delivery_log.recovery import Recovery
from mailctl.delivery_log.rule_enforcement import Rules
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.delivery_log.storage.engine import open_engine
from mailctl.delivery_log.storage.urls import delivery_log_url, mask_url
from mailctl.delivery_log.suppressions import Suppressions
from mailctl.domain.rate_limits import rate_limits_from_settings
from mailctl.domain.recipient_policy import recipient_policy_from_settings
from mailctl.domain.retry_policy import RetryPolicy
from mailctl.rendering.message_settings import message_settings_of
from mailctl.security.keyring import Keyring
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery import Celery
    from sqlalchemy import Engine

    from mailctl.delivery_log.api_keys import ApiKeys
    from mailctl.domain.catalog import Catalog
    from mailctl.rendering.composer import Composer
    from mailctl.security.links import Links
    from mailctl.smtp.sender import Sender
    from mailctl.users import EmbeddedUserDirectory, ServiceUserDirectory


@contextmanager
def open_log(settings: Settings) -> Iterator[Engine]:
    """Open the delivery log's database, whatever its schema.

    Raises:
        ConfigurationError: its address is not usable.
    """
    engine = open_engine(delivery_log_url(settings), setting=DATABASE_URL_SETTING)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def open_log_for_reading(settings: Settings, *, any_version: bool = False) -> Iterator[Engine]:
    """Open the delivery log's database to read it.

    Args:
        any_version: also one whose schema is older or newer than this mailctl.

    Raises:
        ConfigurationError: its address or its schema is not usable.
        LogMissing: there is none.
        LogUnavailable: it cannot be reached.
    """
    engine = open_reader(settings, any_version=any_version)
    try:
        yield engine
    finally:
        engine.dispose()


class Runtime:
    """The parts of one process.

    Args:
        settings: what to build them from.
        app: the Celery app, where somebody has it already; else made from the settings when asked for.
        access_mode: what opening the delivery log may do to it.

    Raises:
        ConfigurationError: the delivery log's address or schema, the limits, the secret keys, or whom this
            environment may mail is not usable.
        LogMissing: there is no delivery log, and the mode needs one.
        LogUnavailable: the log cannot be reached.
    """

    def __init__(
        self, settings: Settings, *, app: Celery | None = None, access_mode: AccessMode = AccessMode.CREATE
    ) -> None:
        self.settings = settings
        self._given_app = app
        self._closing: list[Callable[[], None]] = []
        #: Whom this environment may mail.
        self.recipient_policy = recipient_policy_from_settings(settings)
        limits = rate_limits_from_settings(settings)
        self.keyring = Keyring(settings.secret_keys)
        self.engine = open_delivery_log(settings, access_mode)
        lease = timedelta(seconds=settings.mailctl_lease_seconds)
        self.outbox = Outbox(
            self.engine,
            self.keyring,
            idempotency_window=timedelta(seconds=settings.mailctl_idempotency_seconds),
            rules=Rules(limits),
        )
        self.claims = Claims(
            self.engine,
            self.keyring,
            lease=lease,
            # Where what is in doubt is sent again anyway, knowing of the doubt changes nothing.
            durable=settings.mailctl_on_ambiguous == "hold",
        )
        self.attempt_results = AttemptResults(self.engine)
        self.campaigns = Campaigns(self.engine, self.outbox)
        self.actions = OperatorActions(self.engine, self.outbox)
        self.pauses = Pauses(self.engine)
        self.recovery = Recovery(self.engine)
        self.history = EmailLookups(self.engine)
        self.workers = WorkerRegistry(self.engine)
        self.suppressions = Suppressions(self.engine)
        self.foreign_messages = ForeignMessages(self.engine)
        server = f"{settings.email_host}:{settings.email_port}"
        #: None where emails are captured.
        self.circuits = Circuits(self.engine, server) if settings.email_enabled else None

    @property
    def masked_log_url(self) -> str:
        """The address of the delivery log, without its password."""
        return mask_url(delivery_log_url(self.settings))

    @property
    def is_log_missing(self) -> bool:
        """Whether an empty log stands in for one that does not exist."""
        return is_stand_in(self.engine)

    @property
    def logs_nearby(self) -> str:
        """A clause that names other delivery logs in the folders around; "" if there is none."""
        return describe_nearby_logs(self.settings)

    @cached_property
    def app(self) -> Celery:
        """The Celery app."""
        if self._given_app is not None:
            return self._given_app
        from mailctl.celery_app import app_from_settings

        return app_from_settings(self.settings)

    @cached_property
    def catalog(self) -> Catalog:
        """The kinds of email that there are."""
        from mailctl.domain.catalog_loader import catalog_from_settings

        return catalog_from_settings(self.settings)

    @cached_property
    def links(self) -> Links:
        """The maker of action links."""
        from mailctl.security.links import Links

        return Links(self.settings)

    @cached_property
    def link_origins(self) -> frozenset[str]:
        """Where ready-made links may lead to."""
        from mailctl.security.links import link_origins

        return link_origins(self.settings)

    @cached_property
    def directory(self) -> ServiceUserDirectory | EmbeddedUserDirectory:
        """Who the users are."""
        from mailctl.users import open_user_directory

        return open_user_directory(self.settings, self.engine)

    @cached_property
    def composer(self) -> Composer:
        """The maker of finished messages."""
        from mailctl.rendering.composer import Composer

        return Composer(self.settings, self.links, catalog=self.catalog)

    @cached_property
    def api_keys(self) -> ApiKeys:
        """Who may look at the dashboard."""
        from mailctl.delivery_log.api_keys import ApiKeys

        return ApiKeys(self.engine)

    @property
    def retry_policy(self) -> RetryPolicy:
        """How long to wait between attempts."""
        settings = self.settings
        return RetryPolicy(
            first_seconds=settings.mailctl_retry_first_seconds, cap_seconds=settings.mailctl_retry_cap_seconds
        )

    def check_message_settings(self) -> None:
        """Refuse settings with which no worker could make an email, before one is recorded.

        Raises:
            ConfigurationError: the sender, a header, the templates, where links lead or their maker cannot be
                used.
        """
        message_settings_of(self.settings)
        _ = self.link_origins
        if self.settings.mailctl_link_mint:
            _ = self.links

    def make_sender(self) -> Sender:
        """Return what messages go out by: SMTP, or files where EMAIL_ENABLED=False; to whom it may be."""
        from mailctl.smtp.recipient_guard import GuardedSender

        return GuardedSender(self._make_unguarded_sender(), self.recipient_policy)

    def _make_unguarded_sender(self) -> Sender:
        from mailctl.smtp.capture import CaptureSender
        from mailctl.smtp.pool import PoolLimits, SmtpPool
        from mailctl.smtp.sender import SmtpSender, smtp_server_from_settings

        if not self.settings.email_enabled:
            return CaptureSender(self.settings.mailctl_home.absolute() / "mail")
        limits = PoolLimits(connections=self.settings.mailctl_smtp_connections)
        return SmtpSender(SmtpPool(smtp_server_from_settings(self.settings), limits=limits))

    def on_close(self, action: Callable[[], None]) -> None:
        """Have `action` called by `close`, before the parts are closed that it may need."""
        self._closing.append(action)

    def close(self) -> None:
        """Close what was opened, in reverse."""
        while self._closing:
            self._closing.pop()()
        if "directory" in self.__dict__:
            self.directory.close()
        self.engine.dispose()


_lock = threading.Lock()
_settings: Settings | None = None
_app: Celery | None = None
_access_mode = AccessMode.CREATE
#: By process: what a parent opened is of no use to its child, but must not be closed by it either.
_runtimes: dict[int, Runtime] = {}


def configure(
    settings: Settings, *, app: Celery | None = None, access_mode: AccessMode = AccessMode.CREATE
) -> None:
    """Say what this process, and those forked from it, are to work with, instead of the environment."""
    global _settings, _app, _access_mode
    _settings, _app, _access_mode = settings, app, access_mode


def adopt_app(app: Celery) -> None:
    """Say which Celery app this process runs, unless it was told with `use`."""
    global _app
    _app = _app or app


def current(*, access_mode: AccessMode | None = None) -> Runtime:
    """Return the runtime of this process, opened at the first call.

    Args:
        access_mode: what opening the delivery log may do to it; None for what `use` said.

    Raises:
        ConfigurationError: the settings or the log's schema are not usable.
        LogMissing: there is no delivery log, and the mode needs one; the next call tries again.
        LogUnavailable: the delivery log cannot be reached; the next call tries again.
    """
    pid = os.getpid()
    with _lock:
        if pid not in _runtimes:
            _runtimes[pid] = Runtime(
                _settings or Settings.load(), app=_app, access_mode=access_mode or _access_mode
            )
        return _runtimes[pid]


def require_usable_keys() -> None:
    """Check the secret keys of this process; nothing is opened.

    Raises:
        ConfigurationError: this is production, and one of them protects nothing.
    """
    if not is_open():  # which has passed this check
        _ = (_settings or Settings.load()).secret_keys


def is_open() -> bool:
    """Whether `current` returns at once."""
    return os.getpid() in _runtimes


def close() -> None:
    """Close the runtime of this process, if it is open."""
    with _lock:
        runtime = _runtimes.pop(os.getpid(), None)
    if runtime is not None:
        runtime.close()


def _reset_lock() -> None:
    global _lock
    _lock = threading.Lock()


# Another thread of the parent may have held it at that moment.
os.register_at_fork(after_in_child=_reset_lock)
