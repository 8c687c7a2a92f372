"""A service with a Celery app and tasks of its own: mailctl sends into it, and reads what became of it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.acceptance.terminal import Terminal, Window
    from tests.servers import RedisServer

SHOP = Path(__file__).parent.parent / "data" / "shop.py"


@pytest.fixture
def shop(production: Terminal, redis: RedisServer) -> Terminal:
    """A terminal in the service's folder."""
    shutil.copy(SHOP, production.folder)
    production.environment["SHOP_REDIS"] = redis.url
    return production


def plain_worker(shop: Terminal) -> Window:
    """Start the service's own worker, which has never heard of mailctl."""
    command = (sys.executable, "-m", "celery", "-A", "shop", "worker", "-P", "solo", "-l", "INFO")
    window = shop.open(*command, name="celery")
    window.wait_until_printed("ready.")
    return window


def received(shop: Terminal) -> list[dict[str, object]]:
    """What its tasks were called with."""
    file = shop.folder / "received.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_a_plain_worker_works_off_what_mailctl_published(shop: Terminal) -> None:
    """All five tasks get the arguments of the wire in full, in the queue of the service's app."""
    plain_worker(shop)
    kinds = (
        ("welcome",),
        ("reset",),
        ("verification",),
        ("new-ip", "--ip", "2001:db8::1"),
        ("email", "--subject", "Hello", "--set", "title=Hello", "--set", "body=World"),
    )
    for kind in kinds:
        arguments = ("--app", "shop:app", "--email", "zoe@example.com", "--name", "Zoe")
        result = shop.run("send", *kind, *arguments, "--wait", "--json")
        # Its tasks return True, which does not prove that a mail server accepted anything.
        found = (result.code, result.data["state"], result.data["queue"])
        assert found == (6, "unconfirmed", "shop"), result.err
    calls = {str(call["task"]): call for call in received(shop)}
    assert sorted(calls) == ["email", "new-ip", "reset", "verification", "welcome"]
    assert calls["welcome"]["user"] == {"username": "", "email": "zoe@example.com", "first_name": "Zoe"}
    assert str(calls["reset"]["url"]).startswith("https://shop.example/reset-password?t=")
    assert calls["new-ip"]["ip"] == "2001:db8::1"
    assert calls["email"]["context"] == {"title": "Hello", "body": "World"}


def test_a_failure_of_the_services_own_task_is_known(shop: Terminal) -> None:
    """Its Celery result is all that there is, and enough."""
    plain_worker(shop)
    shop.run("users", "add", "broken@example.com", "--username", "broken")
    result = shop.run("send", "verification", "--user-id", "1", "--app", "shop:app", "--wait")
    assert result.code == 1
    assert "the service's own trouble" in result.err


def test_lists_do_not_show_what_the_service_has_finished_as_queued(shop: Terminal) -> None:
    """Without a worker of mailctl the commands themselves read the results; `show` composes nothing."""
    worker = plain_worker(shop)
    shop.set(MAILCTL_APP="shop:app")
    task_id = shop.send("welcome", "--email", "zoe@example.com")
    worker.wait_until(lambda: f"[{task_id}] succeeded" in worker.output)
    [queue] = [each for each in shop.run("queue", "list", "--json").lines if each["queue"] == "shop"]
    assert (queue["depth"], queue["workers"]) == (0, 1)
    [listed] = shop.run("list", "--json").lines
    assert (listed["state"], listed["reason_code"]) == ("unconfirmed", "own_task_unconfirmed")
    shown = shop.run("show", task_id, "--json").data
    assert (shown["source"], shown["text"]) == ("log", None)
    assert "own task composes" in shown["note"]
    refused = shop.run("send", "welcome", "--email", "zoe@example.com", "--dry-run")
    assert (refused.code, "send_welcome_email_task" in refused.err) == (4, True)


def test_mailctl_works_in_a_services_app_beside_its_tasks(shop: Terminal) -> None:
    """The service's own tasks win over ours, and `check-config` says so."""
    shop.set(MAILCTL_APP="shop:app")
    worker = shop.worker("-P", "solo")
    task_id = shop.send("welcome", "--email", "zoe@example.com")
    worker.wait_until(lambda: (shop.folder / "received.jsonl").exists())
    shop.wait_for(task_id, "unconfirmed")
    checks = shop.run("check-config", "--json").data["checks"]
    assert any("own" in check["detail"] for check in checks if check["group"] == "app")


def test_status_knows_tasks_that_only_celery_knows(shop: Terminal) -> None:
    """The service's own code published it and its worker did it; nothing recorded it, and why is said."""
    plain_worker(shop)
    publish = (
        "import shop; r = shop.app.send_task('send_welcome_email_task', args=[{'username': 'x'}]); "
        "r.get(timeout=100); print(r.id)"
    )
    window = shop.open(sys.executable, "-c", publish, name="client")
    assert window.wait() == 0
    found = shop.run("status", window.output.strip(), "--app", "shop:app", "--json")
    assert (found.code, found.data["celery_state"], found.data["state"]) == (0, "SUCCESS", None)
    assert "the service's own code published it" in found.data["explanation"]
    assert "record_tasks(app)" in found.data["explanation"]


def test_the_services_own_tasks_keep_what_their_messages_ask_for(shop: Terminal) -> None:
    """Callbacks, chains, chords and Celery's own tasks run; what would end the worker is rejected."""
    shop.set(MAILCTL_APP="shop:app")
    shutil.copy(SHOP.parent / "shop_messages.py", shop.folder)
    worker = shop.worker("-c", "1", "-l", "INFO")
    assert shop.open(sys.executable, "shop_messages.py", name="publisher").wait() == 0
    noted = sorted(["20", "40", "[200, 400]", "7"])
    worker.wait_until(lambda: sorted(str(call["number"]) for call in received(shop)) == noted)
    assert worker.output.count("rejected a message for task shop.double") == 3
    assert "celery.map" in worker.output
    assert not [line for line in worker.output.splitlines() if line.startswith("2026 forged")]
    assert worker.stop() == 0
