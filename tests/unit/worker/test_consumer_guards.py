"""An invalid message costs one line in the log, and cannot end the worker."""

from __future__ import annotations

import inspect
import logging
from queue import Empty
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from celery.concurrency import base as celery_pool
from celery.concurrency import get_implementation
from celery.worker import pidbox as celery_pidbox
from celery.worker.consumer import consumer as celery_consumer
from celery.worker.heartbeat import Heart
from kombu.transport import redis as kombu_redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import DataError, ReadOnlyError

from mailctl.worker.consumer_guards import (
    _BODY_FILTER,
    _FILTERED_LOGGERS,
    _LOST_CONNECTION_FORMATS,
    _REPLACEMENT_TEXTS,
    _skip_unreadable,
    keep_bodies_out_of_logs,
    keep_compressed,
    send_events_once,
    tolerate_lost_connection,
)
from mailctl.worker.redis_unacked import POPPED_HANDLER_ATTRIBUTE
from mailctl.worker.run import POOLS

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTION_ERRORS = (RedisConnectionError, DataError)


class Message:
    """A message as kombu makes it, which decompresses what has the header."""

    def __init__(self, raw: dict[str, Any], channel: Any = None) -> None:
        if raw["body"] == "not base64":
            raise ValueError
        assert "compression" not in raw["headers"]
        self.headers, self.body, self._raw = dict(raw["headers"]), raw["body"], raw


def test_a_body_stays_compressed() -> None:
    """The header is kept for the validation."""
    raw = {"headers": {"compression": "gzip", "id": "a"}, "body": "compressed"}
    message = keep_compressed(Message)(raw)
    assert (message.body, message.headers) == ("compressed", {"compression": "gzip", "id": "a"})


def test_a_body_that_is_not_base64_is_replaced() -> None:
    """The message is refused later, and recorded."""
    assert keep_compressed(Message)({"headers": {}, "body": "not base64"}).body == ""


class Channel:
    """A channel whose handler raises an error, and which may save unreadable bytes."""

    def __init__(self, error: Exception, *, is_saved: bool | None = None) -> None:
        self._error = error
        self.forgotten = 0
        if is_saved is not None:
            handler = SimpleNamespace(move_aside=lambda _: is_saved, forget=self._forget)
            setattr(self, POPPED_HANDLER_ATTRIBUTE, handler)

    def _forget(self) -> None:
        self.forgotten += 1

    def read(self) -> None:
        raise self._error


def read_or_skip(channel: Channel) -> object:
    """Let a worker read the next message of a channel."""
    return _skip_unreadable(channel.read, channel, CONNECTION_ERRORS)()


@pytest.mark.parametrize("error", [ValueError("secret"), DataError("secret"), RecursionError("secret")])
def test_unreadable_bytes_are_dropped(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """The log line does not quote them."""
    assert read_or_skip(Channel(error)) is True
    assert [record.getMessage() for record in caplog.records] == [
        f"dropped an unreadable message ({type(error).__name__})"
    ]


@pytest.mark.parametrize("error", [RedisConnectionError(), Empty()])
def test_errors_of_the_connection_pass_through(error: Exception) -> None:
    """Celery connects again, or asks again."""
    channel = Channel(error, is_saved=True)
    with pytest.raises(type(error)):
        read_or_skip(channel)
    assert channel.forgotten == 1


def test_unreadable_bytes_are_saved_if_there_is_a_handler(caplog: pytest.LogCaptureFixture) -> None:
    """Then nothing is dropped."""
    assert read_or_skip(Channel(ValueError(), is_saved=True)) is True
    assert caplog.records == []
    read_or_skip(Channel(ValueError(), is_saved=False))
    assert len(caplog.records) == 1


def test_a_channel_without_a_connection_raises_an_error_that_celery_handles() -> None:
    """With a connection it works as before."""
    channel = SimpleNamespace(connection=SimpleNamespace(client="client"), _get_pool=lambda: "pool")
    tolerate_lost_connection(channel)
    assert channel._get_pool() == "pool"
    channel.connection.client = None
    with pytest.raises(RedisConnectionError):
        channel._get_pool()
    channel.connection = None
    with pytest.raises(RedisConnectionError):
        channel._get_pool()


def filtered(message: str, *args: Any) -> str:
    record = logging.LogRecord(
        "celery", logging.ERROR, __file__, 1, message, args, (ValueError, ValueError(), None)
    )
    assert _BODY_FILTER.filter(record)
    assert not record.exc_info or "Traceback" not in message
    return record.getMessage()


def test_celery_logs_the_task_of_a_message_but_not_its_body() -> None:
    """Names are shortened."""
    headers = {"task": "no.such" + "x" * 200, "id": "a"}
    line = filtered(celery_consumer.UNKNOWN_TASK_ERROR, "error", "secret body", headers, "", "")
    assert line == f"dropped a message for the unknown task {('no.such' + 'x' * 93)!r} (id 'a')"


@pytest.mark.parametrize(
    "text",
    [
        celery_consumer.UNKNOWN_FORMAT,
        celery_consumer.INVALID_TASK_ERROR,
        celery_consumer.MESSAGE_DECODE_ERROR,
    ],
)
def test_other_lines_of_celery_lose_the_body(text: str) -> None:
    """They keep the reason."""
    assert filtered(text, "secret", "secret").startswith("dropped a message ")


def test_other_records_are_not_changed() -> None:
    """Whatever their arguments."""
    assert filtered("connected to %s", "redis") == "connected to redis"


@pytest.fixture
def _guarded_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Log at DEBUG, with the guards, and remove them after the test."""
    level = celery_pool.logger.level
    caplog.set_level(logging.DEBUG)
    keep_bodies_out_of_logs()
    yield
    celery_pool.logger.setLevel(level)
    for logger in _FILTERED_LOGGERS:
        logger.removeFilter(_BODY_FILTER)


def apply_on(pool_name: str) -> None:
    """Pass a body to a pool that does not execute anything, as Celery does with each message."""
    pool = get_implementation(pool_name)(limit=1)
    pool.on_apply = lambda *_, **__: None
    pool.apply_async(print, ("id", "secret body"), {"body": "secret body"})


@pytest.mark.parametrize("pool_name", POOLS)
def test_celery_logs_at_debug_what_a_pool_executes(pool_name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Without the guards, the line contains the body."""
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, logger=celery_pool.logger.name):
        apply_on(pool_name)
    assert "secret body" in caplog.text


@pytest.mark.usefixtures("_guarded_logs")
@pytest.mark.parametrize("pool_name", POOLS)
def test_no_pool_logs_a_body(pool_name: str, caplog: pytest.LogCaptureFixture) -> None:
    """The level is DEBUG."""
    apply_on(pool_name)
    assert caplog.text == ""


@pytest.mark.usefixtures("_guarded_logs")
@pytest.mark.parametrize("logger", _FILTERED_LOGGERS, ids=lambda logger: str(logger.name))
@pytest.mark.parametrize("text", [text for text in _REPLACEMENT_TEXTS if text.count("%") == 1])
def test_the_loggers_that_see_bodies_do_not_write_them(
    logger: logging.Logger, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A replacement says what happened to the message."""
    logger.critical(text, "secret body", exc_info=ValueError("secret body"))
    assert "secret body" not in caplog.text
    assert _REPLACEMENT_TEXTS[text] in caplog.text


def test_every_replaced_text_is_one_of_a_filtered_logger() -> None:
    """A text that a new version of Celery or kombu words differently would pass the filter."""
    texts = {
        value
        for module in (celery_consumer, celery_pidbox, kombu_redis)
        for value in vars(module).values()
        if isinstance(value, str)
    }
    sources = "".join(inspect.getsource(module) for module in (celery_pidbox, kombu_redis))
    assert [text for text in _REPLACEMENT_TEXTS if text not in texts and f"'{text}'" not in sources] == []


@pytest.mark.parametrize("text", _LOST_CONNECTION_FORMATS)
def test_a_lost_connection_is_a_warning(text: str) -> None:
    """The broker still has the message, so nothing is critical about it."""
    record = logging.LogRecord("name", logging.CRITICAL, "", 0, text, ("tag", OSError()), (None, None, None))
    assert _BODY_FILTER.filter(record)
    assert (record.levelname, record.args, record.exc_info) == ("WARNING", (), None)
    assert "the broker sends" in record.getMessage()


@pytest.mark.usefixtures("_guarded_logs")
def test_a_refusal_that_kombu_repeats_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Kombu writes its traceback at each attempt."""
    kombu_redis.logger.warning("Redis error, will retry", exc_info=ReadOnlyError("secret"))
    assert [record.getMessage() for record in caplog.records] == [
        "the broker refuses a request (ReadOnlyError), which is repeated"
    ]
    assert "secret" not in caplog.text


def test_a_heartbeat_is_not_repeated_until_the_broker_takes_it() -> None:
    """Celery would wait for that in the thread of the event loop, also while the worker is to end."""
    sent: list[dict[str, Any]] = []

    def send(_: str, **options: Any) -> None:
        sent.append(options)

    dispatcher = SimpleNamespace(send=send, on_enabled=set(), on_disabled=set(), enabled=True)
    heart = Heart(None, dispatcher)
    heart._send("worker-heartbeat")
    send_events_once(dispatcher)
    heart._send("worker-heartbeat")
    assert [options.get("retry", False) for options in sent] == [True, False]
