"""Every command that is offered works: of every email, page and check each is collected, and run."""

from __future__ import annotations

import html
import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import pytest

from mailctl import runtime, web
from mailctl.domain.models import Content, State, User
from mailctl.settings import Settings
from tests.command_line import parse
from tests.every_email import CAPTURED, CATALOG, HOSTILE_QUEUE, HOSTILE_WORKER, EveryEmail, beat, beating
from tests.web_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.integration.commands import Mailctl

ACTS = ("retry", "release", "resend", "hold", "cancel")
#: In prose: after a colon, in backquotes, or as a next step.
IN_PROSE = re.compile(r"(?:: |`|next step  )((?:MAILCTL_HOME=\S+ )?(?:mailctl|chmod) [^`\n]*)")
#: What commands end with that were not refused: those that look say what they found.
CODES = {"status": {0, 1, 6}, "why": {0, 1, 6}, "check-config": {0, 1}, "monitor": {0, 1}}
NOT_FOUND = 3
#: What is filled in where a refused command says what would do instead.
BLANKS = {"ADDRESS": "203.0.113.7", "SUBJECT": "Hi", "number=VALUE": "number=1", "amount=VALUE": "amount=2"}


@dataclass(frozen=True)
class Offered:
    """A command line, and who offers it."""

    line: str
    by: str
    #: It is about an id that nobody knows.
    is_unknown: bool = False


def in_prose(text: str, by: str, *, is_unknown: bool = False) -> Iterator[Offered]:
    """Yield the commands that a text offers."""
    for found in IN_PROSE.finditer(text):
        yield Offered(found[1].strip(), by, is_unknown=is_unknown)


def on_page(page: str, by: str) -> Iterator[Offered]:
    """Yield the commands that a page has for copying, and those in its prose."""
    for found in re.finditer(r'data-copy="([^"]*)"', page):
        yield Offered(html.unescape(found[1]), by)
    for found in re.finditer(r'<(?:p|span) class="(?:fix|alert|note)"[^>]*>([^<]*)', page):
        yield from in_prose(html.unescape(found[1]), by)


class Operator:
    """Copies commands and runs them.

    Args:
        mailctl: runs a command in this process.
    """

    def __init__(self, mailctl: Mailctl, monkeypatch: pytest.MonkeyPatch) -> None:
        self._mailctl = mailctl
        self._monkeypatch = monkeypatch

    def refusals(self, offered: Iterable[Offered]) -> list[str]:
        """Run each command once; return what was refused."""
        by_line: dict[str, Offered] = {}
        for each in offered:
            by_line.setdefault(each.line, each)
        assert by_line
        return [fault for each in by_line.values() if (fault := self._fault(each))]

    def _fault(self, offered: Offered) -> str:
        words = [BLANKS.get(word, word) for word in shlex.split(offered.line)]
        if words[0] == "chmod":
            code = subprocess.run(["sh", "-c", offered.line], check=False).returncode
            return f"{offered}: {code}" if code else ""
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            self._monkeypatch.setenv(name, value)
        assert words.pop(0) == "mailctl", offered
        shared, words = (words[:2], words[2:]) if words[0] == "--env-file" else ([], words)
        if words[0] == "worker":
            parse([*shared, *words])  # it would run for ever; one is started below
            return ""
        ran = self._mailctl(*shared, *harmless(words))
        self._monkeypatch.delenv("MAILCTL_HOME", raising=False)
        allowed = CODES.get(words[0], {0}) | ({NOT_FOUND} if offered.is_unknown else set())
        return "" if ran.code in allowed else f"{offered}: {ran.code} {ran.out} {ran.err}"


def harmless(words: list[str]) -> list[str]:
    """Return a command as it can be run here: only looking where it can, and not waiting for an end."""
    if "--help" in words:
        return words
    if words[0] in ACTS:
        return [words[0], "--dry-run", *words[1:]]
    if words[0] == "send":
        return [*words[:2], "--dry-run", *words[2:]]
    if words[:2] == ["workers", "stop"]:
        return ["workers", "stop", "--yes", *words[2:]]
    return [word for word in words if word != "--watch"]


@pytest.fixture
def operator(mailctl: Mailctl, monkeypatch: pytest.MonkeyPatch) -> Operator:
    """Somebody who copies commands, in a folder whose name a shell would act on."""
    return Operator(mailctl, monkeypatch)


@pytest.fixture
def log(mailctl: Mailctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A log with every email, in the folder where commands run."""
    (tmp_path / "shopkinds.py").write_text(CATALOG)
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "plain.html").write_text("<p>Hello</p>")
    (templates / "plain.txt").write_text("Hello")
    monkeypatch.setenv("MAILCTL_CATALOG", "shopkinds")
    monkeypatch.setenv("MAILCTL_TEMPLATES", "templates")
    monkeypatch.setenv("DEBUG", "True")
    parts = runtime.Runtime(Settings.load())
    ids = EveryEmail(parts).record_all()
    parts.close()
    return ids


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that can be told to stop."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def test_what_is_offered_for_an_email_works(
    mailctl: Mailctl, operator: Operator, log: dict[str, str]
) -> None:
    """On its page, by the API, by `why`, `status` and `show`, and where another command was refused."""
    found = [*by_the_dashboard(log), *by_commands(mailctl, log)]
    assert len({each.line for each in found}) > len(log)
    assert "\n".join(operator.refusals(found)) == ""


def by_the_dashboard(log: dict[str, str]) -> Iterator[Offered]:
    """Yield what pages and answers about single emails offer."""
    settings = Settings.load()
    runtime.configure(settings)
    with serving(web.create_app(settings)) as address:
        key = runtime.current().api_keys.create("test").plaintext
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=address, headers=headers, timeout=60) as client:
            for what, email_id in log.items():
                page = client.get(f"/emails/{quote(email_id, safe='')}")
                assert page.status_code == 200, (what, page.text)
                yield from on_page(page.text, f"page of {what}")
                causes = client.get(f"/api/emails/{quote(email_id, safe='')}/why").json()["causes"]
                yield from (
                    Offered(cause["next_step"], f"API, {what}") for cause in causes if cause["next_step"]
                )
            unknown = client.get("/api/emails/--nobody;/why").json()
            yield Offered(unknown["fix"], "API, unknown", is_unknown=True)
            yield from in_prose(client.get("/emails/--nobody;").text, "page, unknown", is_unknown=True)
    runtime.close()


def by_commands(mailctl: Mailctl, log: dict[str, str]) -> Iterator[Offered]:
    """Yield what commands about single emails offer."""
    for what, email_id in log.items():
        yield from in_prose(mailctl("why", "--", email_id).out, f"why, {what}")
    for what, email_id in {
        email["state"]: email["task_id"] for email in mailctl("list", "--limit", "200", "--json").lines
    }.items():
        for words in (("status",), ("show",), ("show", "--raw")):
            ran = mailctl(*words, "--", email_id)
            yield from in_prose(f"{ran.out}{ran.err}", f"{' '.join(words)}, {what}")
    for act in ACTS:
        ran = mailctl(act, "--dry-run", "--", *log.values())
        yield from in_prose(ran.out, act)
    for words in (("why", "--json"), ("status",), ("show",)):
        ran = mailctl(*words, "--", "--nobody;")
        if "--json" in words:
            steps = [cause["next_step"] for cause in ran.lines[0]["causes"]]
            yield from (Offered(step, "why, unknown", is_unknown=True) for step in steps if step)
        yield from in_prose(f"{ran.out}{ran.err}", f"{words}, unknown", is_unknown=True)


def test_nothing_is_offered_that_would_be_left_out(mailctl: Mailctl, log: dict[str, str]) -> None:
    """The cases for which the offers differ, one by one: each is judged as the command would judge it."""

    def first_step(what: str) -> str | None:
        [found] = mailctl("why", "--json", "--", log[what]).lines
        step = found["causes"][0]["next_step"]
        return step and step.replace(log[what], "ID")

    assert {what: first_step(what) for what in EXPECTED} == EXPECTED


#: What `why` says first of some of them.
EXPECTED = {
    "sent welcome": None,
    "captured welcome": "mailctl send welcome --email ada@example.com",
    "captured new-ip": "mailctl send new-ip --help",
    "captured plain": "mailctl send plain --email ada@example.com",
    "captured invoice": "mailctl send invoice --help",
    "failed, refused": "mailctl retry ID",
    "failed, maybe sent": "mailctl retry ID --include maybe-sent",
    "failed, late": "mailctl resend ID",
    "failed, content forgotten": "mailctl send reset --email late@example.com",
    "failed, of no kind any more": None,
    "failed, content forgotten, and no address": None,
    "failed, late, with links of others": "mailctl send reset --email zoe@example.com",
    "held": "mailctl release ID",
    "held, late": "mailctl resend ID",
    "held, maybe sent": "mailctl release ID --include maybe-sent",
    "cancelled, late": "mailctl resend ID",
    "expired": "mailctl resend ID",
    "suppressed, listed@example.com": "mailctl suppress remove listed@example.com",
    "suppressed, -x@example.com": "mailctl suppress remove -- -x@example.com",
    "suppressed, off@example.com": "mailctl retry ID --include suppressed",
    "over the limit, 5": "mailctl retry ID --include suppressed",
    "pending, paused kind that is gone": "mailctl queue resume --kind gone",
    "pending, paused queue": "mailctl queue resume -- '-stopped $HOME'",
    "pending, queue with a comma": None,
}


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
    parts = runtime.Runtime(Settings.load())
    settings = Settings.load()
    runtime.configure(settings)
    found: list[Offered] = []
    here = partial(beat, parts, HOSTILE_WORKER, pid=sleeper.pid, queues=("other",))
    there = partial(beat, parts, "w@elsewhere", pid=1, queues=("other",), host="elsewhere")
    with beating(here), beating(there), serving(web.create_app(settings)) as address:
        headers = {"Authorization": f"Bearer {runtime.current().api_keys.create('test').plaintext}"}
        with httpx.Client(base_url=address, headers=headers, timeout=60) as client:
            for path in PAGES:
                answer = client.get(path)
                assert answer.status_code == (404 if path == "/nothing" else 200), answer.text
                found += on_page(answer.text, path)
            checks = json.dumps(
                [client.get(path).json() for path in ("/api/queues", "/api/workers", "/api/x")]
            )
            found += in_prose(checks, "API")
        runtime.close()
        assert f"mailctl queue peek '{HOSTILE_QUEUE}'" in [each.line for each in found]
        assert not [each for each in found if "w@elsewhere" in each.line]
        assert "\n".join(operator.refusals(found)) == ""
    parts.close()
    assert sleeper.wait(10) != 0


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
    parts = runtime.Runtime(Settings.load(env_file))
    beat(parts, HOSTILE_WORKER, pid=os.getpid(), queues=("other",))
    parts.close()
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
    assert f"mailctl --env-file '{env_file}' worker -Q '{HOSTILE_QUEUE}'".replace("'s;", "'\"'\"'s;") in [
        each.line for each in found
    ]
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
    parts = runtime.Runtime(Settings.load())
    [email] = parts.history.emails([mailctl("list", "--json").lines[0]["task_id"]])
    every = EveryEmail(parts)
    every.change(email.id, queue=HOSTILE_QUEUE)
    parts.close()
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


def test_another_email_is_offered_only_to_whom_it_would_be_sent(
    mailctl: Mailctl, operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deactivated user gets none; one whom the directory does not know is written to by address."""
    database = tmp_path / "service.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE users (id INTEGER, email TEXT, username TEXT, is_active BOOLEAN)")
        rows = [(1, "ada@example.com", "ada", True), (2, "bob@example.com", "bob", False)]
        connection.executemany("INSERT INTO users VALUES (?, ?, ?, ?)", rows)
        connection.commit()
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{database}")
    parts = runtime.Runtime(Settings.load())
    every = EveryEmail(parts)
    for user_id in ("1", "2", "3"):
        content = Content(user=User(email="ada@example.com", id=user_id))
        every.finish(every.record(user_id, content=content), State.CAPTURED, CAPTURED)
    parts.close()
    steps = [mailctl("why", each, "--json").lines[0]["causes"][0]["next_step"] for each in every.ids.values()]
    assert steps == ["mailctl send welcome --user-id 1", None, "mailctl send welcome --email ada@example.com"]
    assert operator.refusals(Offered(step, "why") for step in steps if step) == []


OWN_APP = """
from celery import Celery

app = Celery("own", broker="memory://", backend="cache+memory://")


@app.task(name="send_welcome_email_task")
def send_welcome(user_data):
    return True
"""


def test_what_a_task_of_the_services_own_sends_cannot_be_stopped(mailctl: Mailctl, tmp_path: Path) -> None:
    """Its message is out of reach, so that neither `hold` nor `cancel` is offered; of others both are."""
    (tmp_path / "ownapp.py").write_text(OWN_APP)
    parts = runtime.Runtime(Settings.load())
    every = EveryEmail(parts)
    ids = [every.record("own"), every.record("other", "verification")]
    parts.publications.mark_queued(ids)
    parts.close()
    # In a process of its own: an app is for good.
    program = (
        "import sys\nfrom mailctl.diagnosis.eligibility_checker import EligibilityChecker\n"
        "from mailctl.runtime import Runtime\n"
        "from mailctl.settings import Settings\n"
        "parts = Runtime(Settings(mailctl_app='ownapp:app'))\n"
        "for email in parts.history.emails(sys.argv[1:]):\n"
        "    print([offer.action for offer in EligibilityChecker(parts).available_actions(email)])"
    )
    ran = subprocess.run([sys.executable, "-c", program, *ids], capture_output=True, check=True, text=True)
    assert ran.stdout.splitlines() == ["[]", "['hold', 'cancel']"]


def test_what_is_found_in_another_log_is_looked_at_there(
    mailctl: Mailctl, operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder's name is quoted, and the variable is set for that command alone."""
    service = tmp_path / "a $(touch pwned) b"
    service.mkdir()
    monkeypatch.chdir(service)
    task_id = mailctl("send", "welcome", "--email", "zoe@example.com", "--json").lines[0]["task_id"]
    (service / "scripts").mkdir()
    monkeypatch.chdir(service / "scripts")
    step = mailctl("why", task_id, "--json").lines[0]["causes"][0]["next_step"]
    assert step.startswith("MAILCTL_HOME='")
    assert "\n".join(operator.refusals([Offered(step, "why")])) == ""
