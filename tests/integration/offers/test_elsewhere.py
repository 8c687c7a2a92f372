"""Every command that pages, checks and actions offer works: each is collected, and run."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx

from mailctl import runtime, web
from mailctl.settings import Settings
from tests.every_email import HOSTILE_QUEUE, HOSTILE_WORKER, EveryEmail, beat
from tests.integration.offers.conftest import Offered, Operator, in_prose, on_page
from tests.web_server import serving
from tests.workers import beating

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from tests.integration.commands import Mailctl


#: The pages about all emails together.
PAGES = (
    *("/overview", "/queues", "/workers", "/suppressions", "/check-config", "/previews", "/previews/invoice"),
    *("/previews/new-ip?user_id=1", "/previews/reset?user_id=2", "/stats?since=1h&until=1s&by=campaign"),
    "/emails?state=failed&state=held&kind=plain&user_id=--x&to=$(touch+pwned)&oldest_first=true"
    f"&queue={quote(HOSTILE_QUEUE)}",
    *("/emails?campaign=--yes+$(touch+pwned)&error=%27;x&since=2d&until=1s", "/nothing"),
)


def test_what_is_offered_on_other_pages_works(
    mailctl: Mailctl,
    operator: Operator,
    log: dict[str, str],
    sleeper: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Queues, workers, filters, figures, previews, checks: whatever the names are."""
    monkeypatch.setenv("CELERY_QUEUE_DEFAULT", HOSTILE_QUEUE)
    settings = Settings.load()
    runtime.configure(settings)
    with closing(runtime.Runtime(settings)) as parts:
        here = partial(beat, parts, HOSTILE_WORKER, pid=sleeper.pid, queues=("other",))
        there = partial(beat, parts, "w@elsewhere", pid=1, queues=("other",), host="elsewhere")
        with beating(here), beating(there), serving(web.create_app(settings)) as address:
            with closing(runtime):
                found = list(by_pages(address))
            assert f"mailctl queue peek '{HOSTILE_QUEUE}'" in [each.line for each in found]
            assert not [each for each in found if "w@elsewhere" in each.line]
            assert "\n".join(operator.refusals(found)) == ""
    assert sleeper.wait(10) != 0


def by_pages(address: str) -> Iterator[Offered]:
    """Yield what pages and answers about all emails together offer."""
    headers = {"Authorization": f"Bearer {runtime.current().api_keys.create('test').plaintext}"}
    with httpx.Client(base_url=address, headers=headers, timeout=60) as client:
        for path in PAGES:
            answer = client.get(path)
            assert answer.status_code == (404 if path == "/nothing" else 200), answer.text
            yield from on_page(answer.text, path)
        checks = [client.get(path).json() for path in ("/api/queues", "/api/workers", "/api/x")]
        yield from in_prose(json.dumps(checks), "API")


def test_what_checks_offer_works(
    mailctl: Mailctl, operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that others may read, a queue without a worker: the fix of each finding."""
    place = tmp_path / "it's; touch pwned"
    place.mkdir()
    monkeypatch.chdir(place)
    env_file = place / "prod env"
    env_file.write_text(f"SECRET_KEY={'k' * 40}\nCELERY_QUEUE_DEFAULT={HOSTILE_QUEUE}\nDEBUG=True\n")
    monkeypatch.setenv("MAILCTL_ENV_NOTE", "")
    options = ("--env-file", str(env_file))
    mailctl(*options, "send", "welcome", "--email", "zoe@example.com")
    with closing(runtime.Runtime(Settings.load(env_file))) as parts:
        beat(parts, HOSTILE_WORKER, pid=os.getpid(), queues=("other",))
    for each in (place / ".mailctl", *(place / ".mailctl").iterdir(), env_file):
        each.chmod(0o755)
    checks = mailctl(*options, "check-config", "--json")
    found = [
        Offered(each["fix"], each["name"])
        for each in json.loads(checks.out)["checks"]
        if "chmod" in each["fix"]
    ]
    assert len(found) > 1
    for words in (("check-config",), ("health",), ("monitor",), ("queue", "list"), ("workers",)):
        ran = mailctl(*options, *words)
        found += in_prose(f"{ran.out}{ran.err}", " ".join(words))
    assert f"mailctl --env-file {shlex.quote(str(env_file))} worker" in [each.line for each in found]
    assert "\n".join(operator.refusals(found)) == ""
    assert sorted(each.name for each in place.iterdir()) == [".mailctl", "prod env"]
    assert not [each for each in (place / ".mailctl").iterdir() if each.stat().st_mode & 0o077]


def test_what_undoes_an_action_is_offered_for_the_same_settings(mailctl: Mailctl, tmp_path: Path) -> None:
    """What is copied from one environment does nothing in another."""
    (tmp_path / "staging.env").write_text("MAILCTL_HOME=staging\n")
    options = ("--env-file", "staging.env")
    for name in ("ada", "zoe"):
        mailctl(*options, "send", "welcome", "--email", f"{name}@example.com")
    for words, state in ((("hold", "--kind", "welcome"), "held"), (("queue", "purge", "--all"), "cancelled")):
        stopped = mailctl(*words, *options, "--yes")
        [undo] = [each.line for each in in_prose(stopped.err, "undo")]
        assert undo.startswith("mailctl --env-file staging.env release ")
        assert len(mailctl("list", "--state", state, *options, "--json").lines) == 2
        assert mailctl(*shlex.split(undo)[1:], "--yes").code == 0
        assert len(mailctl("list", "--state", "pending", *options, "--json").lines) == 2


def test_a_worker_that_is_offered_starts(mailctl: Mailctl, tmp_path: Path) -> None:
    """Copied into a real shell, with the name of a queue that a shell would act on."""
    mailctl("send", "welcome", "--email", "zoe@example.com")
    with closing(runtime.Runtime(Settings.load())) as parts:
        [email] = parts.history.emails([mailctl("list", "--json").lines[0]["task_id"]])
        EveryEmail(parts).change(email.id, queue=HOSTILE_QUEUE)
    [line] = [cause["next_step"] for cause in mailctl("why", email.id, "--json").lines[0]["causes"]][:1]
    assert line == f"mailctl worker -Q '{HOSTILE_QUEUE}'"
    script = tmp_path / "mailctl"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mailctl "$@"\n')
    script.chmod(0o700)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    ran = subprocess.run(
        ["sh", "-c", f"{line} --drain"], env=environment, capture_output=True, check=False, timeout=120
    )
    assert ran.returncode == 0, ran.stderr.decode()
    assert not (tmp_path / "pwned").exists()
    assert mailctl("status", email.id, "--json").lines[0]["state"] == "captured"
