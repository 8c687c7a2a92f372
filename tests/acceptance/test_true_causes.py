"""One part of a running set-up is broken at a time: the checks are red, and each names the true cause.

`health`, `check-config` and `monitor` have to do what an email needs, not only reach the services.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.acceptance.conftest import INCIDENTS
from tests.faults.site import children_of
from tests.faults.test_workers_die import CLOCK
from tests.private_mounts import IN_A_NAMESPACE, MAY_MOUNT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.acceptance.conftest import OnCall
    from tests.acceptance.desk import Desk
    from tests.acceptance.terminal import Terminal
    from tests.servers import RedisServer
    from tests.smtp_server import ScriptedSmtpServer

#: The property of a report that `tests.conftest.TABLES` prints.
PROPERTY = "true causes"
ALONE = ("-P", "solo", "-c", "1")
OTHER_KEY = "another-acceptance-test-secret-key-of-some-length"


class Operator:
    """Asks every command that has to be red."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        #: The names of what was red, by command.
        self.red: dict[str, set[str]] = {"health": set(), "monitor": set(), "check-config": set()}

    def health(self) -> tuple[int, dict[str, str]]:
        """Return the exit code, and what is wrong by the name of the hop."""
        code, [found], talk = self._desk.run("health")
        assert found["ok"] is (code == 0), talk
        failed = {hop["name"]: hop["detail"] for hop in found["hops"] if not hop["ok"]}
        self.red["health"] |= failed.keys()
        return code, failed

    def monitor(self) -> dict[str, str]:
        """Return what is wrong by the name of the threshold."""
        code, [found], _ = self._desk.run("monitor")
        assert code == int(not found["ok"])
        failed = {each["name"]: each["reason"] for each in found["checks"] if not each["ok"]}
        self.red["monitor"] |= failed.keys()
        return failed

    def check_config(self) -> dict[str, str]:
        """Return what fails by the name of the check."""
        code, [found], _ = self._desk.run("check-config")
        assert code == int(not found["ok"])
        failed = {each["name"]: each["detail"] for each in found["checks"] if each["status"] == "fail"}
        self.red["check-config"] |= failed.keys()
        return failed

    def workers(self) -> dict[str, dict[str, Any]]:
        """Return the workers by their names without the host."""
        _, found, _ = self._desk.run("workers")
        return {each["worker"].partition("@")[0]: each for each in found}


@pytest.fixture
def operator(request: pytest.FixtureRequest, production: Terminal, desk: Desk) -> Iterator[Operator]:
    """An operator of a production set-up; what is red goes into a table."""
    operator = Operator(desk)
    yield operator
    broken = request.node.name.removeprefix("test_").replace("_", " ")
    columns = (", ".join(sorted(names)) or "-" for names in operator.red.values())
    request.node.user_properties.append((PROPERTY, (broken, *columns)))


@pytest.fixture
def database(production: Terminal, postgres_url: str) -> str:
    """The address of a delivery log on a server, which the production set-up uses."""
    production.set(MAILCTL_DATABASE_URL=postgres_url)
    assert production.run("db", "upgrade").code == 0
    return postgres_url


def execute(url: str, *statements: str) -> None:
    """Execute statements on a PostgreSQL server."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def as_role(url: str, role: str) -> str:
    """Return the address of a database for another user."""
    return url.replace("postgres@", f"{role}@", 1)


def let_pass(terminal: Terminal, seconds: int) -> None:
    """Make all that a log in SQLite has of workers and emails so much older."""
    shift = f"strftime('%Y-%m-%d %H:%M:%f', {{0}}, '-{seconds} seconds')"
    with closing(sqlite3.connect(terminal.folder / ".mailctl" / "mailctl.db", timeout=60)) as log, log:
        for table, columns in (
            ("mailctl_workers", ("started_at", "seen_at")),
            ("mailctl_emails", ("created_at", "queued_at")),
        ):
            changes = ", ".join(f"{column} = {shift.format(column)}" for column in columns)
            log.execute(f"UPDATE {table} SET {changes}")


def test_nothing_is_broken(
    production: Terminal, operator: Operator, desk: Desk, smtp_server: ScriptedSmtpServer
) -> None:
    """The control: everything is green, and the checks leave nothing behind."""
    production.worker(*ALONE)
    task_id = desk.send()
    desk.wait_for_state(task_id, "sent")
    assert operator.health() == (0, {})
    assert operator.monitor() == {}
    assert operator.check_config() == {}
    [found] = operator.workers().values()
    assert found["problems"] == []
    assert (found["version"], found["mail_server"]) == (version("mailctl"), f"127.0.0.1:{smtp_server.port}")
    assert [each["task_id"] for each in desk.run("list")[1]] == [task_id]


def test_the_database_is_read_only(operator: Operator, database: str) -> None:
    """As a standby is, or after an operator has set it so; the fix says what to look for."""
    name = database.rpartition("/")[2]
    execute(database, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    code, failed = operator.health()
    assert (code, "cannot execute INSERT in a read-only transaction" in failed["log"]) == (5, True), failed
    assert "read-only transaction" in operator.check_config()["recording"]
    assert "read-only transaction" in operator.monitor()["recording"]


def test_the_user_may_only_read(operator: Operator, production: Terminal, database: str) -> None:
    """Privileges of the tables are missing."""
    role = f"reader_{os.getpid()}"
    grants = (f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}", f"CREATE ROLE {role} LOGIN")
    execute(database, *reversed(grants))
    production.set(MAILCTL_DATABASE_URL=as_role(database, role))
    _, failed = operator.health()
    execute(database, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
    assert "permission denied for table mailctl_emails" in failed["log"]


def test_nobody_may_create_the_schema(operator: Operator, production: Terminal, postgres_url: str) -> None:
    """An empty database is not called ready for the first email; nothing is left in it."""
    role = f"stranger_{os.getpid()}"
    execute(postgres_url, "REVOKE CREATE ON SCHEMA public FROM public", f"CREATE ROLE {role} LOGIN")
    production.set(MAILCTL_DATABASE_URL=as_role(postgres_url, role))
    code, failed = operator.health()
    found = operator.check_config()
    execute(postgres_url, f"DROP ROLE {role}")
    assert (code, "permission denied for schema public" in failed["log"]) == (5, True), failed
    assert "permission denied for schema public" in found["schema"]


@pytest.mark.skipif(not MAY_MOUNT, reason="this system lets nobody mount a tmpfs")
def test_the_disk_is_full(
    terminal: Terminal, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """On a tmpfs that has no room left: nothing can be recorded, and nothing was harmed."""
    (tmp_path / "disk").mkdir()
    script = f"""
        set -e
        mount -t tmpfs -o size=3m none {tmp_path / "disk"}
        export MAILCTL_HOME={tmp_path / "disk"}
        mailctl() {{ {terminal.python} -m mailctl "$@"; }}
        mailctl send welcome --email before@b.example
        dd if=/dev/zero of=$MAILCTL_HOME/ballast status=none 2>/dev/null || true
        for command in health monitor incident "check-config --offline"; do
            mailctl $command || echo "code $?"
        done
    """
    done = subprocess.run(
        [*IN_A_NAMESPACE, "bash", "-c", script],
        cwd=terminal.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout + done.stderr).count("disk is full") == 4, done
    codes = [line for line in done.stdout.splitlines() if line.startswith("code")]
    assert codes == ["code 5", "code 5", "code 1", "code 1"]
    first = next(
        line for line in done.stdout.splitlines() if line.startswith("fail  ") and "waiting emails" in line
    )
    record_property(INCIDENTS, ("the disk is full", "-", "1", "0", first.removeprefix("fail  ")[:90]))


def test_redis_is_full(
    production: Terminal, operator: Operator, redis: RedisServer, desk: Desk, on_call: OnCall
) -> None:
    """It answers, and stores nothing; emails stay in the log, and `why` says what keeps them there."""
    production.worker(*ALONE)
    with redis.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
    task_id = desk.send()
    code, failed = operator.health()
    assert (code, "command not allowed when used memory" in failed["broker"]) == (1, True), failed
    assert "command not allowed when used memory" in failed["results"]
    assert "command not allowed when used memory" in operator.check_config()["broker"]
    [first, *_] = desk.why(task_id)["causes"]
    assert (first["cause"], "command not allowed when used memory" in first["sentence"]) == (
        "broker_refuses",
        True,
    )
    assert on_call.first(task_id) == ("broker_refuses", "broker_refuses")


def test_rabbitmq_blocks_publishers(
    production: Terminal, operator: Operator, rabbit_server: Any, rabbit_url: str
) -> None:
    """Under a memory alarm it answers everything but what is published."""
    production.set(CELERY_BROKER_URL=rabbit_url, CELERY_RESULT_BACKEND="cache+memory://")
    assert production.run("db", "upgrade").code == 0
    assert "broker" not in operator.health()[1]
    rabbit_server.control("set_vm_memory_high_watermark", "absolute", "1")
    try:
        code, failed = operator.health()
        assert (code, "it blocks publishers" in failed["broker"]) == (1, True), failed
    finally:
        rabbit_server.control("set_vm_memory_high_watermark", "0.6")


def test_one_worker_has_another_key(
    production: Terminal, operator: Operator, desk: Desk, on_call: OnCall
) -> None:
    """It is named wherever one looks, also by the email that it could not read; no key is shown."""
    production.worker(*ALONE, "-n", "good@%h", "-Q", "other")
    production.worker(*ALONE, "-n", "bad@%h", SECRET_KEY=OTHER_KEY)
    code, failed = operator.health()
    assert (code, "bad@" in failed["keys"], "good@" in failed["keys"]) == (1, True, False), failed
    assert "another SECRET_KEY and cannot read" in operator.check_config()["keys"]
    assert "bad@" in operator.monitor()["keys"]
    workers = operator.workers()
    assert (workers["good"]["problems"], len(workers["bad"]["problems"])) == ([], 1)
    assert workers["good"]["keys"] != workers["bad"]["keys"]
    task_id = desk.send()
    desk.wait_for_state(task_id, "deferred")
    [first, *_] = desk.why(task_id)["causes"]
    assert (first["cause"], "bad@" in first["sentence"]) == ("wrong_key", True), first
    assert OTHER_KEY not in str(workers)
    assert on_call.first(task_id) == ("wrong_key", "wrong_key")


def test_this_process_has_another_key(production: Terminal, operator: Operator, desk: Desk) -> None:
    """It is this process that differs, not both workers; emails that wait cannot be read here."""
    task_id = desk.send("--in", "1h")
    production.worker(*ALONE, "-n", "a@%h")
    production.worker(*ALONE, "-n", "b@%h")
    production.set(SECRET_KEY=OTHER_KEY)
    _, failed = operator.health()
    assert failed["keys"].startswith("The SECRET_KEY of this process differs from the key of workers"), failed
    assert operator.monitor()["keys"] == failed["keys"]
    assert operator.check_config()["keys"].startswith(failed["keys"])
    assert failed["content"].startswith("This process cannot decrypt 1 of 1 waiting email"), failed
    assert desk.why(task_id)["causes"][0]["cause"] == "scheduled"
    assert "workers_differ" in [each["cause"] for each in desk.why(task_id)["causes"]]


@pytest.mark.parametrize(("seconds", "direction"), [(45, "ahead of"), (-45, "behind")])
def test_the_clock_of_a_worker_is_off(
    production: Terminal,
    operator: Operator,
    on_call: OnCall,
    database: str,
    tmp_path: Path,
    seconds: int,
    direction: str,
) -> None:
    """By more than 2 s from the database's, as its heartbeat has measured."""
    clock = tmp_path / "clock"
    clock.write_text(str(seconds))
    production.worker(*ALONE, "-n", "late@%h", PYTHONPATH=str(CLOCK), TEST_CLOCK_FILE=str(clock))
    code, failed = operator.health()
    assert (code, failed["clocks"].startswith("The clock of worker late@")) == (1, True), failed
    assert direction in failed["clocks"]
    assert direction in operator.monitor()["clocks"]
    assert direction in operator.check_config()["clocks"]
    assert (operator.workers()["late"]["clock_skew"] > 0) is (seconds > 0)
    assert on_call.first(name="the clock of a worker is off")[0] == "clock_skew"


def test_a_worker_takes_nothing(production: Terminal, operator: Operator, desk: Desk) -> None:
    """Its heartbeats go on, its pool is stopped, and emails wait: neither is said to be well."""
    window = production.worker("-c", "1")
    [child] = children_of(window.process.pid)
    production.suspend(child)
    ids = [desk.send() for _ in range(3)]
    desk.wait_for(lambda: desk.why(ids[-1])["state"] == "queued")
    let_pass(production, 20)
    desk.wait_for(lambda: "taking" in operator.health()[1])
    detail = operator.health()[1]["taking"]
    assert "is alive and consumes queue 'celery', but takes nothing: 3 emails wait there" in detail
    assert "taking" in operator.monitor()
    assert "taking" in operator.check_config()
    [found] = operator.workers().values()
    assert "takes nothing" in found["problems"][0]
    assert desk.cause(ids[0]) == "worker_stalled"
    os.kill(child, signal.SIGCONT)
    desk.wait_for_state(ids[0], "sent")


def test_a_worker_is_stopped_by_a_signal(production: Terminal, operator: Operator, desk: Desk) -> None:
    """It is named with the command that resumes it, before and after it counts as dead."""
    window = production.worker(*ALONE)
    production.suspend(window.process.pid)
    _, failed = operator.health()
    assert failed["suspended"].endswith(f"its process {window.process.pid} is stopped by a signal"), failed
    assert "kill -CONT" in operator.workers()["celery"]["problems"][-1]
    let_pass(production, 20)
    _, failed = operator.health()
    assert {"suspended", "workers"} <= failed.keys(), failed
    assert {"suspended", "workers"} <= operator.monitor().keys()
    assert "suspended" in operator.check_config()
    task_id = desk.send()
    [first, *_] = desk.why(task_id)["causes"]
    assert first["cause"] == "no_worker"
    os.kill(window.process.pid, signal.SIGCONT)
    desk.wait_for_state(task_id, "sent")


def test_the_mail_server_of_another_worker_fails(
    production: Terminal, operator: Operator, desk: Desk, on_call: OnCall
) -> None:
    """Not that of the operator's settings: it fails from the first attempt on, and its worker is named."""
    production.worker(*ALONE, "-n", "good@%h", "-Q", "other")
    production.worker(*ALONE, "-n", "bad@%h", EMAIL_PORT="1")
    task_id = desk.send()
    desk.wait_for_state(task_id, "deferred")
    code, failed = operator.health()
    assert (code, "127.0.0.1:1 " in failed["mail-server"]) == (1, True), failed
    for _ in range(3):
        desk.send()
    desk.wait_for(lambda: "has not worked" in operator.health()[1].get("mail-server", ""))
    assert "127.0.0.1:1 has not worked" in operator.monitor()["mail-server"]
    assert "127.0.0.1:1 has not worked" in operator.check_config()["mail server"]
    sentence = desk.why(task_id)["causes"][0]["sentence"]
    assert "127.0.0.1" in sentence
    assert on_call.first(task_id) == ("mail_server_down", "mail_server_down")
