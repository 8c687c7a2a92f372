"""Accepted connection URLs mean the same to every driver, and refused ones are never quoted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from celery.app.backends import BACKEND_ALIASES
from hypothesis import given
from hypothesis import strategies as st
from kombu.transport import TRANSPORT_ALIASES
from kombu.utils.url import url_to_parts
from psycopg.pq import Conninfo
from redis.connection import URL_QUERY_ARGUMENT_PARSERS
from sqlalchemy import make_url

from mailctl.settings import Settings
from mailctl.settings.connection_urls import (
    BrokerUrl,
    DatabaseUrl,
    InvalidUrl,
    LogUrl,
    RedisUrl,
    ResultBackendUrl,
)
from mailctl.settings.connection_urls.options import LIBPQ_OPTIONS, REDIS_RESULT_OPTIONS
from mailctl.settings.connection_urls.parts import split_url

if TYPE_CHECKING:
    from mailctl.settings.connection_urls import ConnectionUrl

#: Anything that may stand unencoded in the middle of a URL.
NOISE = st.text(st.sampled_from("ab1:/?#[]@!$&'()*+,;=%.-_~ é\t"), max_size=12)


@given(NOISE, NOISE)
def test_an_accepted_url_means_the_same_to_all_drivers(user: str, password: str) -> None:
    """kombu, which Celery's result backends also use, and SQLAlchemy find the same parts."""
    try:
        redis = RedisUrl(f"redis://{user}:{password}@host.internal:6380/3").get_secret_value()
        database = DatabaseUrl(f"postgresql://{user}:{password}@host.internal:6380/db").get_secret_value()
    except InvalidUrl:
        return
    ours, kombu, sqlalchemy = split_url(redis), url_to_parts(redis), make_url(database)
    assert (ours.host, ours.port, ours.path) == ("host.internal", 6380, "3")
    assert (kombu.hostname, kombu.port, kombu.path) == ("host.internal", 6380, "3")
    assert (sqlalchemy.host, sqlalchemy.port, sqlalchemy.database) == ("host.internal", 6380, "db")
    assert ours.password == (kombu.password or "") == (sqlalchemy.password or "")
    assert ours.username == (kombu.username or "") == (sqlalchemy.username or "")


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        (RedisUrl, "redis://"),
        (RedisUrl, "redis://h"),
        (RedisUrl, "redis://user:p%40ss@[::1]:6379/0"),
        (RedisUrl, "rediss://:pw@h:6380/0?ssl_ca_certs=/etc/ssl/redis-ca.pem&ssl_cert_reqs=optional"),
        (RedisUrl, "sentinel://:pw@s1:26379/0;sentinel://s2:26379/0"),
        (RedisUrl, "redis+socket:///run/redis.sock?virtual_host=1"),
        (BrokerUrl, "amqp://"),
        (BrokerUrl, "amqp://guest:guest@localhost:5672//"),
        (BrokerUrl, "amqps://u:p@a/vhost;amqps://u:p@b/vhost"),
        (BrokerUrl, "sqs://KEY:SECRET@"),
        (BrokerUrl, "memory://"),
        (BrokerUrl, "filesystem://"),
        (BrokerUrl, "sqla+postgresql://u:p@h/db"),
        (ResultBackendUrl, "cache+memory://"),
        (ResultBackendUrl, "cache+memcached://127.0.0.1:11211;127.0.0.2:11211/"),
        (ResultBackendUrl, "db+sqlite:///results.db"),
        (ResultBackendUrl, "disabled"),
        (ResultBackendUrl, "rpc://"),
        (ResultBackendUrl, "redis://h/0?password=pw&socket_timeout=1.5"),
        (DatabaseUrl, "postgresql+asyncpg://app:pw@h/shop?ssl=require&prepared_statement_cache_size=0"),
        (DatabaseUrl, "mysql+aiomysql://app:pw@h:3306/shop?charset=utf8mb4"),
        (DatabaseUrl, "sqlite+aiosqlite:///./shop.db?check_same_thread=false"),
        (LogUrl, "postgresql:///mail?host=/run/postgresql"),
        (LogUrl, "postgresql://?service=mail"),
        (LogUrl, "postgresql://u:p@h/db?sslmode=verify-full&sslrootcert=/ca.pem&application_name=mail"),
        (LogUrl, "postgresql://u:p@h/db?options=-csearch_path%3Dmail&prepare_threshold=none"),
        (LogUrl, "sqlite:////var/lib/my folder/m#1@home.db"),
        (LogUrl, "sqlite:///file:mail.db?uri=true&mode=rw"),
    ],
)
def test_common_urls_are_accepted_unchanged(kind: type[ConnectionUrl], url: str) -> None:
    """Nothing is rewritten."""
    assert kind(url).get_secret_value() == url


@pytest.mark.parametrize(
    ("kind", "url", "shown"),
    [
        (RedisUrl, "redis://user:pw@h:6379/0", "redis://user:***@h:6379/0"),
        (RedisUrl, "sentinel://:pw@a:1;sentinel://:pw@b:2", "sentinel://:***@a:1;sentinel://:***@b:2"),
        (LogUrl, "postgresql://postgres:postgres@h/postgres", "postgresql://postgres:***@h/postgres"),
        (LogUrl, "postgresql://u@h/db?password=pw", "postgresql://u@h/db?password=***"),
    ],
)
def test_a_url_is_displayed_without_its_password(kind: type[ConnectionUrl], url: str, shown: str) -> None:
    """And its representation shows nothing at all."""
    assert kind(url).masked == shown
    assert "pw" not in f"{kind(url)!r} {kind(url)}"


def test_the_schemes_are_those_of_kombu_and_celery() -> None:
    """Every working scheme is accepted."""
    for scheme in TRANSPORT_ALIASES.keys() - {"sqla", "sqlalchemy"}:
        BrokerUrl(f"{scheme}://")
    for scheme in BACKEND_ALIASES.keys() - {"db", "database", "disabled"}:
        ResultBackendUrl(f"{scheme}://")


def test_the_options_are_those_of_the_drivers() -> None:
    """Those of libpq, and numbers where Celery expects them."""
    assert {option.keyword.decode() for option in Conninfo.get_defaults()} <= LIBPQ_OPTIONS
    numbers = {name for name, parser in URL_QUERY_ARGUMENT_PARSERS.items() if parser in (int, float)}
    for name in numbers & REDIS_RESULT_OPTIONS:
        with pytest.raises(InvalidUrl, match=f"{name} that is not a number"):
            ResultBackendUrl(f"redis://h/0?{name}=text")


def test_a_similar_option_is_suggested() -> None:
    """The given name is not repeated: it may be part of a password."""
    with pytest.raises(InvalidUrl) as caught:
        LogUrl("postgresql://u:p@h/db?prepare_treshold=0")
    assert caught.value.fix == "Did you mean prepare_threshold?"
    assert "treshold" not in str(caught.value)


@pytest.mark.parametrize("kind", [RedisUrl, BrokerUrl, ResultBackendUrl])
def test_suggested_schemes_are_accepted(kind: type[ConnectionUrl]) -> None:
    """An operator who follows the fix is not refused again."""
    with pytest.raises(InvalidUrl) as caught:
        kind("nonsense://h")
    advised = re.findall(r"\w+://", caught.value.fix)
    assert len(advised) >= 3
    for scheme in advised:
        kind(f"{scheme}h")


def test_the_scheme_for_valkey_is_suggested() -> None:
    """kombu has no other for this protocol."""
    with pytest.raises(InvalidUrl) as caught:
        RedisUrl("valkeys://h:6379/0")
    assert caught.value.fix.startswith("Use rediss://")


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%41b", "a@b", "a b"])
def test_a_folder_may_have_any_name(name: str, tmp_path: object) -> None:
    """The default log is a file, not a URL."""
    from mailctl.delivery_log.storage.urls import delivery_log_url

    settings = Settings(mailctl_home=f"{tmp_path}/{name}")
    assert delivery_log_url(settings).database == f"{tmp_path}/{name}/mailctl.db"
