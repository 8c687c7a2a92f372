"""Redis as operators have it: with ACL users, over TLS, behind Sentinels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers import SentinelServer, TlsProxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.terminal import Terminal
    from tests.servers import RedisServer
    from tests.smtp_server import Certificates

MASTER = "mail-master"
USER, PASSWORD = "mailctl", "acl-password-canary"


@pytest.fixture
def acl_url(redis: RedisServer) -> str:
    """The address with a user's name and password."""
    client = redis.client()
    client.acl_setuser(
        USER, enabled=True, passwords=[f"+{PASSWORD}"], keys=["*"], channels=["*"], categories=["+@all"]
    )
    client.close()
    return f"redis://{USER}:{PASSWORD}@127.0.0.1:{redis.port}/0"


@pytest.fixture
def tls_url(redis: RedisServer, certificates: Certificates) -> Iterator[str]:
    """The address of a server that speaks TLS, with a certificate from an authority of our own."""
    with TlsProxy(certificates.server, redis.port) as proxy:
        address = f"rediss://:{redis.password}@127.0.0.1:{proxy.port}/0"
        yield f"{address}?ssl_ca_certs={certificates.ca_file}"


@pytest.fixture
def sentinel_url(redis: RedisServer, tmp_path: Path) -> Iterator[str]:
    """The address of a Sentinel, which knows the master."""
    with SentinelServer(tmp_path / "sentinel", master=redis, name=MASTER) as sentinel:
        yield f"sentinel://:{redis.password}@127.0.0.1:{sentinel.port}/0"


@pytest.mark.parametrize("kind", ["acl", "tls", "sentinel"])
def test_an_email_goes_out_and_the_set_up_is_checked(
    production: Terminal, kind: str, request: pytest.FixtureRequest
) -> None:
    """The address works for the broker and for the results, whatever is behind it; no password is shown."""
    production.set(REDIS_URL=request.getfixturevalue(f"{kind}_url"), REDIS_SENTINEL_MASTER=MASTER)
    production.worker("-c", "1")
    task_id = production.send("welcome", "--email", "ada@example.com")
    found = production.wait_for(task_id, "sent")
    assert found["celery_state"] == "SUCCESS"
    checked = production.run("check-config", "--json")
    named = {check["name"]: check["status"] for check in checked.data["checks"] if check["group"] == "broker"}
    assert {name: named[name] for name in ("broker", "results")} == {"broker": "ok", "results": "ok"}
    assert PASSWORD not in checked.out
    assert "redis-password-canary" not in checked.out


def test_a_certificate_that_nobody_vouches_for_is_refused(
    production: Terminal, redis: RedisServer, certificates: Certificates
) -> None:
    """rediss:// is verified unless the address says otherwise."""
    with TlsProxy(certificates.server, redis.port) as proxy:
        production.set(REDIS_URL=f"rediss://:{redis.password}@127.0.0.1:{proxy.port}/0")
        result = production.run("check-config", "--json")
    details = [check["detail"] for check in result.data["checks"] if check["name"] == "broker"]
    assert result.code == 1
    assert any("certificate" in detail.lower() for detail in details), details
