"""`mailctl health --canary`: from the command line through broker and worker to the mail server's RCPT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.acceptance.conftest import SMTP_PASSWORD
from tests.smtp_server import Certificates, Reply, ScriptedSmtpServer

if TYPE_CHECKING:
    from tests.acceptance.terminal import Result, Terminal
    from tests.servers import RedisServer


def stages(result: Result) -> dict[str, Any]:
    """Return the hops of `health --json` by name."""
    return {hop["name"]: hop for hop in result.data["hops"]}


def test_on_a_memory_broker_it_goes_through_the_log_and_leaves_nothing(terminal: Terminal) -> None:
    """Two processes: the relay of the worker picks it up; SMTP is skipped where emails are captured."""
    assert terminal.run("health", "--canary", "--json").data["stage"] == "log"
    assert terminal.run("db", "upgrade").code == 0
    alone = terminal.run("health", "--canary", "--json")
    assert (alone.code, alone.data["stage"]) == (1, "workers")
    terminal.worker()
    result = terminal.run("health", "--canary", "--json")
    assert (result.code, result.data["ok"]) == (0, True), result.out
    assert [hop["name"] for hop in result.data["hops"]][-3:] == ["publish", "worker", "smtp"]
    assert "EMAIL_ENABLED=False" in stages(result)["smtp"]["detail"]
    assert terminal.run("list", "--json").out == ""
    assert not list((terminal.folder / ".mailctl").glob("mail/*"))


def test_in_production_it_stops_after_rcpt(
    production: Terminal, smtp_server: ScriptedSmtpServer, redis: RedisServer
) -> None:
    """Each hop has its time; the server has accepted nothing; no address was on the broker in clear."""
    production.worker("-c", "1")
    result = production.run("health", "--canary", "--to", "canary@shop.example", "--json")
    assert result.code == 0, result.out
    names = ["log", "broker", "results", "workers", "agreement", "mail-server"]
    names += ["publish", "worker", "worker-log"]
    assert list(stages(result)) == [*names, "connect", "tls", "auth", "mail", "rcpt"]
    assert all(stages(result)[name]["seconds"] is not None for name in ("publish", "worker", "rcpt"))
    assert smtp_server.messages == []
    with redis.client() as client:
        stored = b"".join(client.dump(key) or b"" for key in client.scan_iter())
    assert b"canary@shop.example" not in stored
    assert production.run("list", "--json").out == ""


def test_where_results_are_private_the_answer_comes_by_the_log(production: Terminal) -> None:
    """A worker's memory is nobody else's; that it has answered must not be lost there."""
    production.set(CELERY_RESULT_BACKEND="cache+memory://")
    production.worker("-c", "1")
    result = production.run("health", "--canary", "--json")
    assert (result.code, "rcpt" in stages(result)) == (0, True), result.out
    assert production.run("list", "--json").out == ""


def test_the_stage_that_fails_is_named(production: Terminal, certificates: Certificates) -> None:
    """With what the server said."""
    script = {"auth": [Reply("535 5.7.8 wrong password")], "rcpt": [Reply("550 5.1.1 nobody here")]}
    server = ScriptedSmtpServer(script, ssl_context=certificates.server, credentials=("app", SMTP_PASSWORD))
    with server:
        production.set(EMAIL_PORT=server.port)
        production.worker("-c", "1")
        for stage, code in (("auth", "535"), ("rcpt", "550")):
            result = production.run("health", "--canary", "--json")
            assert (result.code, result.data["stage"]) == (1, stage), result.out
            assert code in stages(result)[stage]["detail"]


def test_no_worker_no_redis_no_mail_server(
    production: Terminal, redis: RedisServer, smtp_server: ScriptedSmtpServer
) -> None:
    """Exit codes 5, 3, 8 and 5: not reachable, no such queue, not in time."""
    production.set(CELERY_QUEUE_DEFAULT="abandoned")
    production.send("welcome", "--email", "ada@example.com")
    production.set(CELERY_QUEUE_DEFAULT="celery")
    production.worker("-c", "1")
    smtp_server.stop()
    unreachable = production.run("health", "--canary", "--json")
    assert (unreachable.code, unreachable.data["stage"]) == (5, "connect"), unreachable.out
    unknown = production.run("health", "--canary", "--queue", "clery", "--json")
    assert (unknown.code, unknown.data["stage"]) == (3, "publish"), unknown.out
    late = production.run("health", "--canary", "--queue", "abandoned", "--timeout", "1", "--json")
    assert (late.code, late.data["stage"]) == (8, "worker"), late.out
    redis.stop()
    down = production.run("health", "--canary", "--json")
    assert (down.code, down.data["stage"]) == (5, "broker"), down.out
