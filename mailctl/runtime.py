"""The parts that a process works with, built once from the settings and closed in reverse order."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from mailctl.delivery_log.attempt_results import AttemptResults
from mailctl.delivery_log.campaign_guard import CampaignGuard
from mailctl.delivery_log.campaigns import Campaigns
from mailctl.delivery_log.claims import Claims
from mailctl.delivery_log.email_routes import EmailRoutes
from mailctl.delivery_log.feedback_counts import FeedbackCounts
from mailctl.delivery_log.feedback_reports import FeedbackReports
from mailctl.delivery_log.foreign_messages import ForeignMessages
from mailctl.delivery_log.heartbeats import WorkerRegistry
from mailctl.delivery_log.opening import is_stand_in, open_delivery_log, open_stand_in
from mailctl.delivery_log.operator_actions import OperatorActions
from mailctl.delivery_log.outbox import Outbox
from mailctl.delivery_log.own_task_claims import OwnTaskClaims
from mailctl.delivery_log.own_task_emails import OwnTaskEmails
from mailctl.delivery_log.pauses import Pauses
from mailctl.delivery_log.process_identity import ProcessIdentity, identify_process
from mailctl.delivery_log.publications import Publications
from mailctl.delivery_log.queries.lookups import EmailLookups
from mailctl.delivery_log.recovery import Recovery
from mailctl.delivery_log.refusals import Refusals
from mailctl.delivery_log.rule_enforcement import Rules
from mailctl.delivery_log.storage.access_mode import AccessMode
from mailctl.delivery_log.storage.engine import limit_transactions
from mailctl.delivery_log.storage.engine_clock import clock_of
from mailctl.delivery_log.storage.urls import delivery_log_url, mask_url
from mailctl.delivery_log.suppressions import Suppressions
from mailctl.delivery_log.unsubscribes import Unsubscribes
from mailctl.domain.campaign_bounds import campaign_bounds_from_settings
from mailctl.domain.rate_limits import rate_limits_from_settings
from mailctl.domain.recipient_policy import recipient_policy_from_settings
from mailctl.domain.retry_policy import RetryPolicy
from mailctl.domain.routing import DEFAULT_SERVER
from mailctl.domain.webhook_secrets import webhook_secrets_from_settings
from mailctl.process.per_process import PerProcess
from mailctl.rendering.message_settings import message_settings_of
from mailctl.security.keyring import Keyring
from mailctl.security.unsubscribe_links import unsubscribe_links_from_settings
from mailctl.settings import Settings
from mailctl.smtp.mail_servers import mail_servers_from_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from celery import Celery
    from sqlalchemy import Engine

    from mailctl.broker.unvalidated import ArgumentRules
    from mailctl.delivery_log.api_keys import ApiKeys
    from mailctl.delivery_log.rollup import Rollup
    from mailctl.delivery_log.web_sessions import WebSessions
    from mailctl.domain.catalog import Catalog
    from mailctl.domain.own_tasks import ResultTranslator
    from mailctl.rendering.composer import Composer
    from mailctl.security.links import Links
    from mailctl.smtp.sender import Sender
    from mailctl.users import EmbeddedUserDirectory, ServiceUserDirectory


#: Seconds after which a process that runs for long gives up a transaction that a silent server holds up.
TRANSACTION_SECONDS = 20.0


class Runtime:
    """The parts of one process: the delivery log, the Celery app, the composer and others.

    Args:
        settings: the settings that all parts are built from.
        app: the Celery app, if the process already has one; None creates it from the settings on first use.
        access_mode: what opening the delivery log may do to it.
        engine: the engine of the delivery log, if it is open already.

    Raises:
        ConfigurationError: the URL or schema of the delivery log, the rate limits, the secret keys or the
            recipient policy is not usable.
        LogMissing: there is no delivery log, and the mode requires one.
        LogUnavailable: the delivery log cannot be reached.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        app: Celery | None = None,
        access_mode: AccessMode = AccessMode.CREATE,
        engine: Engine | None = None,
    ) -> None:
        self.settings = settings
        self._given_app = app
        self._closing: list[Callable[[], None]] = []
        #: The recipients that this environment may send to.
        self.recipient_policy = recipient_policy_from_settings(settings)
        #: The mail servers, and which emails go by which.
        self.mail_servers = mail_servers_from_settings(settings)
        limits = rate_limits_from_settings(settings)
        self.keyring = Keyring(settings.secret_keys)
        self.engine = engine or open_delivery_log(settings, access_mode)
        lease = timedelta(seconds=settings.mailctl_lease_seconds)
        self.outbox = Outbox(
            self.engine,
            self.keyring,
            idempotency_window=timedelta(seconds=settings.mailctl_idempotency_seconds),
            rules=Rules(limits),
        )
        self.publications = Publications(self.engine)
        self.claims = Claims(
            self.engine,
            self.keyring,
            lease=lease,
            # An email whose claim was lost is sent again: where one in doubt never is, none may be lost.
            durable=settings.is_durable or not settings.resends_in_doubt,
        )
        self.attempt_results = AttemptResults(self.engine, durable=settings.is_durable)
        self.own_task_claims = OwnTaskClaims(
            self.engine, self.keyring, lease=lease, durable=settings.is_durable
        )
        self.campaigns = Campaigns(self.engine, self.outbox)
        self.actions = OperatorActions(self.engine, self.outbox)
        self.pauses = Pauses(self.engine)
        self.recovery = Recovery(self.engine)
        self.own_task_emails = OwnTaskEmails(self.engine)
        self.history = EmailLookups(self.engine)
        self.workers = WorkerRegistry(self.engine)
        self.suppressions = Suppressions(self.engine)
        self.unsubscribes = Unsubscribes(self.engine)
        self.foreign_messages = ForeignMessages(self.engine)
        self.refusals = Refusals(self.engine)
        self.feedback_reports = FeedbackReports(self.engine)
        self.feedback_counts = FeedbackCounts(self.engine)
        self.campaign_guard = CampaignGuard(self.engine, campaign_bounds_from_settings(settings))
        self.email_routes = EmailRoutes(self.engine)
        #: The circuits to the mail servers by name; empty where emails are captured.
        self.circuits_by_server = self.mail_servers.circuits(self.engine) if settings.email_enabled else {}
        #: The circuit to the default one; None where emails are captured.
        self.circuits = self.circuits_by_server.get(DEFAULT_SERVER)

    @property
    def identity(self) -> ProcessIdentity:
        """The identity of this process, for a comparison with others, and the log that is there now.

        Raises:
            LogUnavailable: the delivery log cannot be read.
        """
        more = self.mail_servers.labels[1:] if self.settings.email_enabled else ()
        return identify_process(self.engine, self.keyring, self.settings, more_servers=more)

    def clock(self) -> datetime:
        """Return the current time by the clock of the delivery log, by which its processes compare times.

        Raises:
            LogUnavailable: its database has never told its time, and does not answer.
        """
        return clock_of(self.engine)()

    @property
    def clock_skew_seconds(self) -> float:
        """Seconds by which the clock of this host is ahead of that of the delivery log.

        Raises:
            LogUnavailable: as `clock`.
        """
        return clock_of(self.engine).skew_seconds

    def limit_transactions(self) -> None:
        """Give up each transaction in which the server or this process is silent for `TRANSACTION_SECONDS`.

        Call this in a process that runs for long; a command may wait for a query that takes minutes.
        """
        limit_transactions(self.engine, seconds=TRANSACTION_SECONDS)

    @property
    def masked_log_url(self) -> str:
        """The URL of the delivery log, with its password masked."""
        return mask_url(delivery_log_url(self.settings))

    @property
    def is_log_missing(self) -> bool:
        """Whether the delivery log does not exist and an empty one in memory stands in for it."""
        return is_stand_in(self.engine)

    @cached_property
    def app(self) -> Celery:
        """The Celery app of the service, or of mailctl itself."""
        if self._given_app is not None:
            return self._given_app
        from mailctl.celery_app import app_from_settings

        return app_from_settings(self.settings)

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog of all kinds of email."""
        from mailctl.domain.catalog_loader import catalog_from_settings

        return catalog_from_settings(self.settings)

    @cached_property
    def rollup(self) -> Rollup:
        """The rollup, from which statistics over long spans come."""
        from mailctl.delivery_log.rollup import Rollup

        return Rollup(self.engine, kinds=self.catalog.kinds)

    @cached_property
    def result_translator(self) -> ResultTranslator | None:
        """The service's function that interprets what its tasks return (MAILCTL_RESULT_OUTCOME), if any."""
        from mailctl.domain.own_tasks import load_translator_or_failing

        return load_translator_or_failing(self.settings.mailctl_result_outcome)

    @cached_property
    def links(self) -> Links:
        """The factory and verifier of action links."""
        from mailctl.security.links import Links

        return Links(self.settings, find_user=lambda user_id: self.directory.find_record(user_id))

    @cached_property
    def link_origins(self) -> frozenset[str]:
        """The origins that ready-made links may lead to."""
        from mailctl.security.links import link_origins

        return link_origins(self.settings)

    @cached_property
    def argument_rules(self) -> ArgumentRules:
        """The values that are accepted in the arguments of messages of other programs."""
        from mailctl.broker.unvalidated import ArgumentRules
        from mailctl.security.links import links_problem

        return ArgumentRules(
            origins=self.link_origins, catalog=self.catalog, links_problem=links_problem(self.settings)
        )

    @cached_property
    def directory(self) -> ServiceUserDirectory | EmbeddedUserDirectory:
        """The directory of users."""
        from mailctl.users import open_user_directory

        return open_user_directory(self.settings, self.engine)

    @cached_property
    def composer(self) -> Composer:
        """The composer, which builds the MIME messages of emails."""
        from mailctl.rendering.composer import Composer

        unsubscribing = unsubscribe_links_from_settings(self.settings, self.keyring)
        return Composer(self.settings, self.links, catalog=self.catalog, unsubscribe_links=unsubscribing)

    @cached_property
    def api_keys(self) -> ApiKeys:
        """The API keys of the dashboard."""
        from mailctl.delivery_log.api_keys import ApiKeys

        return ApiKeys(self.engine)

    @cached_property
    def web_sessions(self) -> WebSessions:
        """The sessions of the dashboard."""
        from mailctl.delivery_log.web_sessions import WebSessions

        return WebSessions(self.engine)

    @property
    def retry_policy(self) -> RetryPolicy:
        """The policy that decides how long to wait between attempts."""
        settings = self.settings
        return RetryPolicy(
            first_seconds=settings.mailctl_retry_first_seconds, cap_seconds=settings.mailctl_retry_cap_seconds
        )

    def check_message_settings(self) -> None:
        """Check the settings that every worker needs to compose a message.

        Call this before an email is recorded: with wrong settings no worker could send it.

        Raises:
            ConfigurationError: a setting about sender, headers, templates, links, webhooks or unsubscribing
                is not usable.
        """
        message_settings_of(self.settings)
        _ = self.link_origins
        if self.settings.mailctl_link_mint or self.settings.mailctl_link_paths:
            _ = self.links
        if self.settings.mailctl_template_aliases:
            _ = self.catalog
        webhook_secrets_from_settings(self.settings)
        unsubscribe_links_from_settings(self.settings, self.keyring)

    def make_sender(self) -> Sender:
        """Return a new sender, SMTP or capture (EMAIL_ENABLED=False), that enforces the recipient policy."""
        from mailctl.smtp.server_pools import make_sender

        return make_sender(self.settings, self.mail_servers, self.engine, policy=self.recipient_policy)

    def on_close(self, action: Callable[[], None]) -> None:
        """Register an action that `close` runs before it closes the parts that the action may need."""
        self._closing.append(action)

    def close(self) -> None:
        """Run the registered actions, latest first, and close what was opened."""
        while self._closing:
            self._closing.pop()()
        if "directory" in self.__dict__:
            self.directory.close()
        self.engine.dispose()


_settings: Settings | None = None
_app: Celery | None = None
_access_mode = AccessMode.CREATE
_runtimes = PerProcess[Runtime]()


def configure(
    settings: Settings | None, *, app: Celery | None = None, access_mode: AccessMode = AccessMode.CREATE
) -> None:
    """Set what `current` builds the runtime from, in this process and in processes forked from it.

    Args:
        settings: used instead of the environment; None reads the environment.
        app: the Celery app; None creates it from the settings.
        access_mode: what opening the delivery log may do to it.
    """
    global _settings, _app, _access_mode
    _settings, _app, _access_mode = settings, app, access_mode


def open_without_log(settings: Settings) -> Runtime:
    """Return a runtime for a process whose delivery log cannot be opened: an empty one in memory stands in.

    Raises:
        ConfigurationError: other settings are not usable either.
    """
    return Runtime(settings, engine=open_stand_in())


def adopt_app(app: Celery) -> None:
    """Set the Celery app that this process runs, unless `configure` has set one."""
    global _app
    _app = _app or app


def current(*, access_mode: AccessMode | None = None) -> Runtime:
    """Return the runtime of this process; the first call opens it.

    Args:
        access_mode: what opening the delivery log may do to it; None takes the mode that `configure` has set.

    Raises:
        ConfigurationError: the settings or the schema of the delivery log is not usable.
        LogMissing: there is no delivery log, and the mode requires one; the next call tries again.
        LogUnavailable: the delivery log cannot be reached; the next call tries again.
    """
    return _runtimes.get(
        lambda: Runtime(_settings or Settings.load(), app=_app, access_mode=access_mode or _access_mode)
    )


def configured_settings() -> Settings:
    """Return the settings that `current` builds the runtime from, without opening anything.

    Raises:
        ConfigurationError: a setting is invalid.
    """
    opened = _runtimes.peek()
    return _settings or (opened.settings if opened else Settings.load())


def require_usable_keys() -> None:
    """Check the secret keys of this process without opening anything.

    Raises:
        ConfigurationError: DEBUG is False and a secret key is empty, published or too short.
    """
    if not is_open():  # an open runtime has passed this check
        _ = configured_settings().secret_keys


def is_open() -> bool:
    """Return whether the runtime of this process is open, so that `current` returns at once."""
    return _runtimes.peek() is not None


def close() -> None:
    """Close the runtime of this process, if it is open."""
    if (runtime := _runtimes.pop()) is not None:
        runtime.close()
