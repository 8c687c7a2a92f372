"""The Celery app that the web service, the workers and the command line share.

`celery -A mailctl.celery_app` works: `celery_app` and `app` are created at their first use, from the
environment at that time; importing this module reads nothing.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.exceptions import AlwaysEagerIgnored

from mailctl.domain.catalog import TASK_NAMES
from mailctl.domain.task_mapping import mapped_tasks
from mailctl.errors import ConfigurationError
from mailctl.settings import MEMORY_BACKEND, MEMORY_BROKER, Settings
from mailctl.settings.connection_urls import BrokerUrl, InvalidUrl, ResultBackendUrl, is_foreign_scheme
from mailctl.settings.plugins import load_object, summarize_error

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds to wait for the broker or the result backend to connect or to answer.
BROKER_TIMEOUT_SECONDS = 0.5
#: The visibility timeout in seconds, after which Redis redelivers an unacknowledged message; one email takes
#: far less.
VISIBILITY_TIMEOUT_SECONDS = 900
#: Transport options that make kombu's Redis transports fail at once.
FAIL_FAST = {
    "socket_timeout": BROKER_TIMEOUT_SECONDS,
    "socket_connect_timeout": BROKER_TIMEOUT_SECONDS,
    "max_retries": 0,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
}
_REDIS_SCHEMES = ("redis", "rediss", "sentinel", "valkey")
#: The attribute of an app that holds its recorder.
RECORDER_ATTRIBUTE = "mailctl_recorder"
_TASKS = "mailctl.tasks"
_NAME = "mailctl"


def create_celery_app(settings: Settings) -> Celery:
    """Return a Celery app for these settings, without connecting.

    It uses JSON only, and UTC. Publishing fails at once if the broker does not answer, because the delivery
    log has the email. A message is acknowledged late: it is redelivered if its process was killed.

    Raises:
        ConfigurationError: the environment makes Celery use an invalid URL.
    """
    app = Celery(_NAME, broker=settings.broker_url, backend=settings.result_backend, set_as_current=False)
    app.conf.update(
        imports=[_TASKS],
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        timezone="UTC",
        enable_utc=True,
        task_track_started=True,
        task_time_limit=settings.celery_task_time_limit,
        result_expires=settings.celery_result_expires,
        task_default_queue=settings.celery_queue_default,
        # Subscribing to a result blocks a publisher for 19 s when the backend is down.
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        task_publish_retry=False,
        broker_pool_acquire_timeout=1,
        broker_connection_timeout=BROKER_TIMEOUT_SECONDS,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=_transport_options(settings),
        result_backend_transport_options={
            "retry_policy": {"timeout": BROKER_TIMEOUT_SECONDS, "max_retries": 1},
            **({"global_keyprefix": settings.redis_key_prefix} if settings.redis_key_prefix else {}),
            **_sentinel_options(settings.result_backend, settings),
        },
        redis_socket_timeout=BROKER_TIMEOUT_SECONDS,
        redis_socket_connect_timeout=BROKER_TIMEOUT_SECONDS,
        worker_soft_shutdown_timeout=10,
        # Arguments and exceptions of other programs' tasks may contain tokens.
        result_extended=False,
        worker_send_task_events=False,
        task_send_sent_event=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    _refuse_unusable_urls(app, whose="The Celery app")
    return app


def load_app(spec: str) -> Celery:
    """Return a service's own Celery app with its tasks and mailctl's.

    If the service defines a task of the same name as mailctl, the service's task is used.

    Args:
        spec: MODULE:ATTRIBUTE.

    Raises:
        ConfigurationError: there is no such app, importing it fails, or the URL of its broker or result
            backend is invalid.
    """
    app = _import_app(spec)
    try:
        app.finalize()
        app.loader.import_default_modules()
    except Exception as error:
        raise ConfigurationError(
            f"--app {spec}: importing its tasks failed: {summarize_error(error)}.", fix="Correct the app."
        ) from error
    importlib.import_module(_TASKS)
    _refuse_unusable_urls(app, whose=f"--app {spec}")
    if app.conf.task_always_eager:
        # A finding of `check-config`; Celery would repeat it for every message.
        warnings.filterwarnings("ignore", category=AlwaysEagerIgnored)
    return app


def is_built_in_app(app: Celery) -> bool:
    """Whether an app is mailctl's own, not a service's."""
    return bool(app.main == _NAME)


def app_from_settings(settings: Settings) -> Celery:
    """Return the app that MAILCTL_APP names, or else mailctl's own.

    Raises:
        ConfigurationError: MAILCTL_APP does not name a usable app.
    """
    return load_app(settings.mailctl_app) if settings.mailctl_app else create_celery_app(settings)


def overridden_tasks(app: Celery) -> frozenset[str]:
    """Return the names of mailctl's tasks that the service defines itself."""
    tasks: Mapping[str, Any] = app.tasks
    return frozenset(name for name in TASK_NAMES if name in tasks and type(tasks[name]).__module__ != _TASKS)


def email_tasks_of_service(app: Celery, settings: Settings) -> frozenset[str]:
    """Return the names of the email tasks that the service defines: of mailctl's names, and of MAILCTL_TASKS.

    Raises:
        ConfigurationError: MAILCTL_TASKS is not usable.
    """
    return overridden_tasks(app) | {name for name in mapped_tasks(settings) if is_service_task(app, name)}


def is_service_task(app: Celery, name: str) -> bool:
    """Whether the service defines the task of a name itself."""
    task = app.tasks.get(name)
    return task is not None and type(task).__module__ != _TASKS


def has_recorder(app: Celery) -> bool:
    """Whether emails of the service's own tasks in an app are recorded (`mailctl.record_tasks`)."""
    return hasattr(app, RECORDER_ATTRIBUTE)


def queue_for_task(app: Celery, task: str) -> str:
    """Return the queue for messages of a task, according to the app's routes."""
    queue = app.amqp.router.route({}, task).get("queue")
    return str(getattr(queue, "name", queue) or app.conf.task_default_queue)


def consumed_queues(app: Celery) -> tuple[str, ...]:
    """Return the queues that a worker of the app consumes by default."""
    return tuple(app.amqp.queues.consume_from)


def has_memory_broker(app: Celery) -> bool:
    """Whether only this process can see the broker."""
    return str(app.conf.broker_url or "").startswith(MEMORY_BROKER)


def has_private_results(app: Celery) -> bool:
    """Whether only this process can see the results."""
    return str(app.conf.result_backend or "").startswith(MEMORY_BACKEND)


def stores_results(app: Celery) -> bool:
    """Whether results are stored where they can be asked for: not without a backend, and not over rpc://."""
    return not str(app.conf.result_backend or "disabled").startswith(("disabled", "rpc"))


def unreadable_results_reason(app: Celery) -> str:
    """Return why other processes cannot read the results of an app's tasks, as a clause; "" if they can.

    An app that ignores results (`task_ignore_result`) has those of mailctl's messages, which ask for them.
    """
    backend = str(app.conf.result_backend or "disabled")
    if backend.startswith("disabled"):
        return "the app has no result backend"
    if backend.startswith(("rpc", "cache+memory")):
        scheme = backend.partition(":")[0]
        return f"only the process that asked for a result can read it from {scheme}://"
    return ""


def missing_results_reason(app: Celery) -> str:
    """Return why there is no result of what the service's own code publishes, as a clause; "" if there is."""
    ignores = "the app ignores results (task_ignore_result)" if app.conf.task_ignore_result else ""
    return unreadable_results_reason(app) or ignores


def is_redis(broker_url: str) -> bool:
    """Whether a URL points to Redis: directly, with TLS, or through Sentinels."""
    return broker_url.partition(":")[0] in _REDIS_SCHEMES


def _import_app(spec: str) -> Celery:
    app = load_object(spec, setting="--app")
    if not isinstance(app, Celery):
        raise ConfigurationError(
            f"--app {spec}: this is not a Celery app.",
            fix="Name the Celery app object, such as shop.celery:app.",
        )
    return app


def _refuse_unusable_urls(app: Celery, *, whose: str) -> None:
    """Refuse invalid URLs, which may come from the environment, and which Celery would quote in errors."""
    kinds = {"broker_read_url": BrokerUrl, "broker_write_url": BrokerUrl, "result_backend": ResultBackendUrl}
    for name, kind in kinds.items():
        given = getattr(app.conf, name)
        for url in given if isinstance(given, list | tuple) else [given]:
            if not isinstance(url, str) or is_foreign_scheme(url):
                continue
            try:
                kind(url)
            except InvalidUrl as error:
                raise ConfigurationError(f"{whose}: its {name} {error}", fix=error.fix) from None


def _transport_options(settings: Settings) -> dict[str, Any]:
    if settings.uses_memory_broker:
        return {"polling_interval": 0.05}
    if not is_redis(settings.broker_url):
        return {}
    names = {"global_keyprefix": settings.redis_key_prefix, "client_name": settings.redis_client_name}
    return FAIL_FAST | {
        "visibility_timeout": VISIBILITY_TIMEOUT_SECONDS,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        # A worker asks its queues in their given order: campaigns come last.
        "queue_order_strategy": "priority",
        **{name: value for name, value in names.items() if value},
        **_sentinel_options(settings.broker_url, settings),
    }


def _sentinel_options(url: str, settings: Settings) -> dict[str, Any]:
    """Return the options for Sentinels: the name of the master, and their own password."""
    if not url.startswith("sentinel:"):
        return {}
    password = settings.redis_sentinel_password
    kwargs = {"socket_timeout": BROKER_TIMEOUT_SECONDS, "socket_connect_timeout": BROKER_TIMEOUT_SECONDS}
    own = {"password": password.get_secret_value()} if password else {}
    return {"master_name": settings.redis_sentinel_master, "sentinel_kwargs": kwargs | own}


def __getattr__(name: str) -> Celery:
    if name in ("celery_app", "app"):
        globals()["celery_app"] = globals()["app"] = create_celery_app(Settings.load())
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
