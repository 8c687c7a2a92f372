"""Real servers (Redis, RabbitMQ, PostgreSQL, DNS) on free loopback ports, which tests start and kill."""

from tests.servers.dns import DnsServer
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgresql import PostgresServer
from tests.servers.process import free_port
from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import RedisServer, SentinelServer
from tests.servers.sockets import FEW_ATTEMPTS, HangUpServer, LineServer, Proxy, TlsProxy

__all__ = [
    "FEW_ATTEMPTS",
    "DnsServer",
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
