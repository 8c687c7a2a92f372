"""Connections to the broker that fail fast, with the driver's errors translated into those of mailctl."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from amqp.exceptions import MessageNacked
from kombu.exceptions import KombuError

from mailctl.broker.broker_type import BrokerType, broker_type_of
from mailctl.broker.confirms import CONFIRM_SECONDS, REPLY_SECONDS, PublishersBlocked
from mailctl.broker.refusals import CERTIFICATE_FIX, has_untrusted_certificate, refusal_of
from mailctl.celery_app import BROKER_TIMEOUT_SECONDS, FAIL_FAST
from mailctl.errors import BrokerRefused, BrokerUnavailable, ExitCode
from mailctl.process.deadlines import call_with_deadline
from mailctl.process.fork_safety import no_fork
from mailctl.settings.credential_masking import mask_credentials, mask_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from celery import Celery

_T = TypeVar("_T")
#: A kombu connection to Redis that waits for a reply would restore unacknowledged messages of all apps.
_QUESTION_OPTIONS = FAIL_FAST | {"unacked_restore_limit": 0}
_OPTIONS: Mapping[BrokerType, Mapping[str, object]] = {
    BrokerType.REDIS: _QUESTION_OPTIONS,
    # mailctl awaits confirmations itself: of many messages at once, and not for ever.
    BrokerType.AMQP: {"confirm_publish": False},
}
#: redis-py quotes a command that failed, which may contain a message, up to this text.
_QUOTED_COMMAND_END = "of pipeline caused error: "


def ask_broker(app: Celery, question: Callable[[Any], _T]) -> _T:
    """Call a function with a connection to the broker, within a deadline, and return its result.

    Args:
        app: the app whose broker is asked.
        question: a function of an open kombu connection.

    Raises:
        BrokerUnavailable: the broker does not answer, or not in time.
    """
    connection = fail_fast_connection(app)
    # This imports the driver, which takes long on a busy host; the deadline is for the broker alone.
    _ = connection.transport

    def answer() -> _T:
        with no_fork(), connection, _translate_errors(connection):
            limit_waits(connection)
            return question(connection)

    return call_with_deadline(answer, service="The broker", error_class=BrokerUnavailable)


@contextmanager
def open_connection(app: Celery) -> Iterator[Any]:
    """Open a connection to the broker for work that may take longer than a question.

    Raises:
        BrokerUnavailable: the broker does not answer.
    """
    connection = fail_fast_connection(app)
    with connection, _translate_errors(connection):
        limit_waits(connection, seconds=CONFIRM_SECONDS)
        yield connection


def fail_fast_connection(app: Celery) -> Any:
    """Return a new kombu connection to the broker, which neither retries nor restores messages.

    Raises:
        BrokerRefused: the driver of the broker cannot be loaded.
    """
    check_driver(app)
    options = _OPTIONS.get(broker_type_of(app.connection_for_write()), {})
    # Without heartbeats over AMQP: nobody would send them while there is nothing to publish.
    return app.connection_for_write(
        connect_timeout=BROKER_TIMEOUT_SECONDS, heartbeat=0, transport_options=options
    )


def check_driver(app: Celery) -> None:
    """Check that the driver of the broker can be loaded.

    Raises:
        BrokerRefused: it cannot, for example because its library is not installed.
    """
    try:
        with app.connection_for_write() as connection:
            _ = connection.transport
    except Exception as error:  # of any class, such as a NameError in the driver for Kafka
        raise BrokerRefused(
            f"The driver of the broker cannot be loaded: {error_reason(error)}.",
            fix="Install its library, or use Redis or RabbitMQ, with which mailctl is tested.",
            exit_code=ExitCode.USAGE,
        ) from error


def limit_waits(connection: Any, *, seconds: float = REPLY_SECONDS) -> None:
    """Open a connection to an AMQP broker, and limit how long each of its requests waits, its end too.

    The other drivers have limits of their own. A broker that blocks publishers answers none of their
    requests.

    Args:
        connection: a kombu connection.
        seconds: the limit.
    """
    if broker_type_of(connection) is BrokerType.AMQP:
        # This tries once; kombu's implicit connect retries for ever.
        connection.connect()
        connection.connection.sock.settimeout(seconds)


def drop_connection(connection: Any) -> None:
    """Close a connection after an error; it can be opened again.

    An AMQP broker that blocks publishers would not answer the handshake that ends a connection.
    """
    if broker_type_of(connection) is BrokerType.AMQP:
        connection.collect()
    else:
        connection.close()


def broker_error(connection: Any, error: BaseException) -> BrokerUnavailable:
    """Return mailctl's error for an error of the driver; it does not contain the broker's password."""
    # kombu shows its own mask even where the URL has no password.
    address, reason = mask_url(connection.as_uri(include_password=True)), error_reason(error)
    if refusal := refusal_of(error):
        message = f"The broker at {address} refused the request: {refusal.reason or reason}."
        return BrokerRefused(message, fix=refusal.fix, exit_code=refusal.exit_code)
    if isinstance(error, PublishersBlocked):
        return BrokerUnavailable(
            f"The broker at {address} accepts no messages: {reason}.",
            fix="Free memory or disk space on its host, or raise its limits.",
        )
    if has_untrusted_certificate(error):
        return BrokerUnavailable(f"The broker at {address} cannot be trusted: {reason}.", fix=CERTIFICATE_FIX)
    return BrokerUnavailable(
        f"The broker at {address} does not answer: {reason}.",
        fix="Start it, or correct its address: CELERY_BROKER_URL, REDIS_URL, or REDIS_HOST and REDIS_PORT.",
    )


def driver_errors(connection: Any) -> tuple[type[Exception], ...]:
    """Return the exceptions that the driver of a connection raises when the broker fails."""
    errors = (*connection.connection_errors, *connection.channel_errors)
    return (KombuError, OSError, MessageNacked, *errors)


def error_reason(error: BaseException) -> str:
    """Return the first line of an error's text, without credentials, commands of Redis and its full stop."""
    text = str(error).rpartition(_QUOTED_COMMAND_END)[2]
    return mask_credentials((text or type(error).__name__).rstrip(".").splitlines()[0])


@contextmanager
def _translate_errors(connection: Any) -> Iterator[None]:
    try:
        yield
    except driver_errors(connection) as error:
        raise broker_error(connection, error) from error
