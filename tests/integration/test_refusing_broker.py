"""A broker that answers and refuses: what it refused, what to do about it, and the exit code for that."""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from mailctl.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.commands import Mailctl
    from tests.servers import RabbitServer, RedisServer

QUEUE = "parcels"
ASIDE = f"{QUEUE}.unclaimed"
RESTORE = ("queue", "restore", QUEUE, "--yes")


class Rabbit:
    """A virtual host with an unclaimed message, and what a test arranges there."""

    def __init__(self, server: RabbitServer, url: str) -> None:
        self._server = server
        self.url = url
        self._open = ExitStack()
        app = self._open.enter_context(Celery("arranging", broker=url, set_as_current=False))
        self._connection = self._open.enter_context(app.connection_for_write())
        self._channel = self._connection.default_channel

    def __enter__(self) -> Rabbit:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def unclaimed(self) -> int:
        """How many messages are unclaimed and in nobody's hands."""
        return int(self._channel.queue_declare(ASIDE, passive=True).message_count)

    def declare(self, queue: str, *, messages: int = 0, exclusive: bool = False, **arguments: Any) -> None:
        """Make a queue with messages."""
        options = {f"x-{name.replace('_', '-')}": value for name, value in arguments.items()}
        self._channel.queue_declare(
            queue, durable=not exclusive, exclusive=exclusive, auto_delete=False, arguments=options
        )
        for _ in range(messages):
            message = self._channel.prepare_message(b"{}")
            self._channel.basic_publish_confirm(message, exchange="", routing_key=queue)

    def as_user(self, *, read: str, write: str) -> str:
        """Return the address with another user's credentials, who has these permissions."""
        name, host = f"user-{uuid.uuid4().hex}", self._connection.virtual_host
        self._server.control("add_user", name, name)
        self._server.control("set_permissions", "-p", host, name, ".*", write, read)
        return self.url.replace("guest:guest@", f"{name}:{name}@")


@pytest.fixture
def rabbit(rabbit_server: RabbitServer, rabbit_url: str) -> Iterator[Rabbit]:
    """RabbitMQ."""
    with Rabbit(rabbit_server, rabbit_url) as rabbit:
        yield rabbit


def without_permission(rabbit: Rabbit) -> str:
    rabbit.declare(ASIDE, messages=1)
    rabbit.declare(QUEUE)
    return rabbit.as_user(read=".*", write="^$")


def with_a_wrong_password(rabbit: Rabbit) -> str:
    rabbit.declare(ASIDE, messages=1)
    return rabbit.url.replace("guest:guest@", "guest:hunter2@")


def on_a_virtual_host_that_is_not_there(rabbit: Rabbit) -> str:
    return rabbit.url.rpartition("/")[0] + "/nowhere"


def from_a_queue_of_another_connection(rabbit: Rabbit) -> str:
    rabbit.declare(ASIDE, messages=1, exclusive=True)
    return rabbit.url


def to_a_queue_that_is_full(rabbit: Rabbit) -> str:
    rabbit.declare(ASIDE, messages=1)
    rabbit.declare(QUEUE, messages=1, max_length=1, overflow="reject-publish")
    return rabbit.url


def to_a_queue_that_is_not_there(rabbit: Rabbit) -> str:
    rabbit.declare(ASIDE, messages=1)
    return rabbit.url


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Production with a broker."""

    def use_broker(url: str) -> None:
        monkeypatch.setenv("DEBUG", "False")
        monkeypatch.setenv("SECRET_KEY", "a-secret-key-of-more-than-32-characters")
        monkeypatch.setenv("CELERY_BROKER_URL", url)

    return use_broker


@pytest.mark.parametrize(
    ("arrange", "code", "refused", "fix"),
    [
        (without_permission, ExitCode.USAGE, "ACCESS_REFUSED", "permission"),
        (with_a_wrong_password, ExitCode.USAGE, "ACCESS_REFUSED", "password"),
        (on_a_virtual_host_that_is_not_there, ExitCode.USAGE, "NOT_ALLOWED", "virtual host"),
        (from_a_queue_of_another_connection, ExitCode.REFUSED, "RESOURCE_LOCKED", "exclusive"),
        (to_a_queue_that_is_full, ExitCode.FAILED, "did not accept a message", "full"),
        (to_a_queue_that_is_not_there, ExitCode.NOT_FOUND, "There is no queue 'parcels'", "Start the app"),
    ],
)
def test_what_rabbitmq_refuses_is_told_as_what_it_is(
    arrange: Callable[[Rabbit], str],
    code: ExitCode,
    refused: str,
    fix: str,
    rabbit: Rabbit,
    mailctl: Mailctl,
    use: Callable[[str], None],
) -> None:
    """In one sentence, with what to do; the message stays where it was."""
    use(arrange(rabbit))
    ran = mailctl(*RESTORE)
    assert (ran.code, ran.out) == (code, ""), ran.err
    [told] = [line for line in ran.err.splitlines() if not line.startswith("There is no delivery log")]
    assert "does not answer" not in told
    assert refused in told
    assert fix in told
    assert "hunter2" not in ran.err
    if arrange not in (on_a_virtual_host_that_is_not_there, from_a_queue_of_another_connection):
        assert rabbit.unclaimed == 1


@pytest.mark.parametrize(
    ("broken", "code", "refused"),
    [
        ("password", ExitCode.USAGE, "invalid username-password"),
        ("key", ExitCode.FAILED, "WRONGTYPE"),
    ],
)
def test_so_is_what_redis_refuses(
    broken: str,
    code: ExitCode,
    refused: str,
    redis_url: str,
    redis_server: RedisServer,
    mailctl: Mailctl,
    use: Callable[[str], None],
) -> None:
    """A wrong password, and a key that is no list."""
    with redis_server.client() as client:
        client.set(ASIDE, "no list")
    use(redis_url.replace("redis://", "redis://nobody:hunter2@") if broken == "password" else redis_url)
    ran = mailctl(*RESTORE)
    assert ran.code == code, ran.err
    assert "does not answer" not in ran.err
    assert refused in ran.err
    assert "hunter2" not in ran.err
