"""The checks of `check-config` against real servers: Redis, PostgreSQL, a mail server and a worker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from mailctl.checks.finding import Finding, FindingStatus, is_ok
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from tests.integration.checking import check
from tests.servers import FEW_ATTEMPTS, HangUpServer, RedisServer, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("empty_folder")
OK, WARN, FAIL, SKIP = FindingStatus
#: Seconds that a worker may take to start.
PATIENCE = 120


class ClusterNode(RedisServer):
    """A node of Redis Cluster, without other nodes."""

    def _command(self) -> list[str]:
        return [*super()._command(), "--cluster-enabled", "yes", "--cluster-port", str(free_port())]


def on_redis(url: str, **changes: Any) -> Settings:
    """Return settings for production with Redis at `url`."""
    sound: dict[str, Any] = {
        "debug": False,
        "redis_url": SecretStr(url),
        "secret_key": SecretStr("a-secret-key-of-the-service-that-is-long"),
        "frontend_url": "https://app.example.org",
        "email_from_address": "noreply@shop.internal",
        "project_name": "Shop",
    }
    return Settings(**{**sound, **changes})


class TestBroker:
    def test_redis_answers(self, redis_url: str) -> None:
        """So does the result backend; each finding has the round trip."""
        found = check(on_redis(redis_url))
        for name in ("broker", "results"):
            assert found[f"broker/{name}"].status is OK
            assert found[f"broker/{name}"].detail.startswith(f"{redis_url} answers")
            assert found[f"broker/{name}"].detail.endswith(" ms")
        assert found["broker/maxmemory-policy"].status is OK
        assert is_ok(found.values())

    def test_a_redis_that_evicts_messages_is_a_warning(self, tmp_path: Path) -> None:
        """The fix is the command that changes it."""
        with RedisServer(tmp_path / "redis") as server:
            client = server.client()
            client.config_set("maxmemory-policy", "allkeys-lru")
            client.close()
            finding = check(on_redis(server.url))["broker/maxmemory-policy"]
        assert finding.status is WARN
        assert finding.detail == "A full Redis deletes messages and results (allkeys-lru)."
        assert "CONFIG SET maxmemory-policy noeviction" in finding.fix

    def test_redis_cluster_is_named_as_unsupported(self, tmp_path: Path) -> None:
        """Celery would fail later, with an error about slots."""
        with ClusterNode(tmp_path / "redis") as server:
            finding = check(on_redis(server.url))["broker/cluster-enabled"]
        assert (finding.status, "sentinel://" in finding.fix) == (FAIL, True)

    def test_a_redis_that_forbids_config_is_no_fault(self, tmp_path: Path) -> None:
        """Hosted servers do."""
        with RedisServer(tmp_path / "redis") as server:
            client = server.client()
            client.execute_command("ACL", "SETUSER", "default", "-config")
            client.close()
            found = check(on_redis(server.url))
        assert found["broker/broker"].status is OK
        assert found["broker/maxmemory-policy"].status is SKIP

    def test_a_redis_that_hangs_up_is_tried_few_times(self) -> None:
        """Celery itself would retry for 20 s; everything else is checked nevertheless."""
        with HangUpServer() as server:
            found = check(on_redis(f"redis://127.0.0.1:{server.port}/0"))
        assert server.connections <= 2 * FEW_ATTEMPTS
        assert (found["broker/broker"].status, found["broker/results"].status) == (FAIL, FAIL)
        assert "REDIS_HOST" in found["broker/broker"].fix
        assert "broker/maxmemory-policy" not in found
        assert found["templates/welcome"].status is OK

    def test_a_redis_that_is_silent_is_not_waited_for(self, tmp_path: Path) -> None:
        """It accepts connections, but does not answer."""
        with RedisServer(tmp_path / "redis") as server:
            server.freeze()
            found = check(on_redis(server.url))
            server.thaw()
        assert (found["broker/broker"].status, found["broker/results"].status) == (FAIL, FAIL)

    def test_a_wrong_password_fails_and_is_not_shown(self, tmp_path: Path) -> None:
        """Neither the wrong one nor the right one."""
        with RedisServer(tmp_path / "redis", password="right-password") as server:
            url = server.url.replace("right-password", "wrong-password")
            found = check(on_redis(url))
            assert check(on_redis(server.url))["broker/broker"].status is OK
        assert (found["broker/broker"].status, found["broker/results"].status) == (FAIL, FAIL)
        assert not [word for word in ("right-password", "wrong-password") if word in repr(found)]


class TestLog:
    def test_a_log_on_a_server_gets_its_tables_later(self, postgres_url: str) -> None:
        """The check creates none; once they exist, they are current."""
        settings = Settings(mailctl_database_url=SecretStr(postgres_url))
        assert "creates it" in check(settings)["log/schema"].detail
        assert "creates it" in check(settings)["log/schema"].detail
        Runtime(settings).close()
        found = check(settings)
        assert found["log/schema"].detail.endswith("is current")
        assert found["log/emails"].detail == "none yet"

    def test_a_log_on_a_server_that_is_down_fails(self) -> None:
        """Its password is not shown."""
        url = f"postgresql+asyncpg://app:hunter2@127.0.0.1:{free_port()}/mail"
        found = check(Settings(mailctl_database_url=SecretStr(url)))
        assert found["log/database"].status is FAIL
        assert "hunter2" not in repr(found)
        assert found["workers/alive"].status is SKIP

    def test_users_on_a_server_that_is_down_fail(self) -> None:
        """Like the commands that look them up."""
        url = f"postgresql://127.0.0.1:{free_port()}/shop"
        assert check(Settings(database_url=SecretStr(url)))["users/directory"].status is FAIL


class TestWorkers:
    def test_a_worker_is_found_whether_it_shares_the_log_or_not(self, redis_url: str, tmp_path: Path) -> None:
        """If it does not, that is a hazard: its outcomes are missing in the log."""
        settings = on_redis(redis_url, mailctl_home=tmp_path / "web")
        assert check(settings)["workers/alive"].status is WARN
        with celery_worker(redis_url, home=tmp_path / "worker"):
            apart = wait_for_worker(settings)
            together = check(settings.model_copy(update={"mailctl_home": tmp_path / "worker"}))
        assert apart["workers/queue celery"].status is OK
        assert "mail@test consumes celery and has another delivery log" in apart["workers/log"].detail
        assert "hazards/SQLite log" not in apart  # it would say the same
        assert together["workers/alive"].detail == "1: mail@test on celery"
        assert "hazards/SQLite log" not in together


#: What a Celery worker does for other workers and for monitors.
_EXTRAS = ("gossip", "mingle", "heartbeat")


@contextmanager
def celery_worker(redis_url: str, *, home: Path) -> Iterator[None]:
    """Run a worker of mailctl's app in another process, with a delivery log in `home`."""
    environment = {
        "PATH": os.environ["PATH"],
        "DEBUG": "False",
        "SECRET_KEY": "a-secret-key-of-the-service-that-is-long",
        "REDIS_URL": redis_url,
        "MAILCTL_HOME": str(home),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    command = [sys.executable, "-m", "celery", "-A", "mailctl.celery_app", "worker"]
    process = subprocess.Popen(
        # Without all three, Celery has nothing that sends events.
        [*command, "--pool=solo", "--hostname=mail@test", *(f"--without-{each}" for each in _EXTRAS)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def wait_for_worker(settings: Settings) -> dict[str, Finding]:
    """Repeat the checks until a worker is alive; return the findings."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = check(settings)
        if found["workers/alive"].status is OK:
            return found
        assert time.monotonic() < deadline, found["workers/alive"]
