"""Real Redis, RabbitMQ and PostgreSQL servers on free loopback ports, which tests start, stop and kill."""

from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgresql import PostgresServer
from tests.servers.process import free_port
from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import RedisServer, SentinelServer
from tests.servers.sockets import FEW_ATTEMPTS, HangUpServer, LineServer, Proxy, TlsProxy

__all__ = [
    "FEW_ATTEMPTS",
    "HangUpServer",
    "LineServer",
    "PgBouncer",
    "PostgresServer",
    "Proxy",
    "RabbitServer",
    "RedisServer",
    "SentinelServer",
    "TlsProxy",
    "free_port",
]
