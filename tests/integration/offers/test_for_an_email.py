"""Every command that is offered for an email works: each is collected, and run."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx

from mailctl import runtime, web
from mailctl.domain.models import Content, User
from mailctl.domain.states import State
from mailctl.settings import Settings
from tests.every_email import CAPTURED, EveryEmail
from tests.integration.offers.conftest import ACTS, Offered, Operator, in_prose, on_page
from tests.web_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from tests.integration.commands import Mailctl


def test_what_is_offered_for_an_email_works(
    mailctl: Mailctl, operator: Operator, log: dict[str, str]
) -> None:
    """On its page, by the API, by `why`, `status` and `show`, and where another command was refused."""
    found = [*by_the_dashboard(log), *by_commands(mailctl, log)]
    assert len({each.line for each in found}) > len(log)
    operator.shares_runtime = True
    assert "\n".join(operator.refusals(found)) == ""


def by_the_dashboard(log: dict[str, str]) -> Iterator[Offered]:
    """Yield what pages and answers about single emails offer."""
    settings = Settings.load()
    runtime.configure(settings)
    with closing(runtime), serving(web.create_app(settings)) as address:
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


def by_commands(mailctl: Mailctl, log: dict[str, str]) -> Iterator[Offered]:
    """Yield what commands about single emails offer."""
    for what, email_id in log.items():
        yield from in_prose(mailctl("why", "--", email_id, keeps_open=True).out, f"why, {what}")
    for what, email_id in {
        email["state"]: email["task_id"] for email in mailctl("list", "--limit", "200", "--json").lines
    }.items():
        for words in (("status",), ("show",), ("show", "--raw")):
            ran = mailctl(*words, "--", email_id, keeps_open=True)
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


def test_another_email_is_offered_only_to_whom_it_would_be_sent(
    mailctl: Mailctl, operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deactivated user gets none; one that the directory does not know is written to by address."""
    database = tmp_path / "service.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE users (id INTEGER, email TEXT, username TEXT, is_active BOOLEAN)")
        rows = [(1, "ada@example.com", "ada", True), (2, "bob@example.com", "bob", False)]
        connection.executemany("INSERT INTO users VALUES (?, ?, ?, ?)", rows)
        connection.commit()
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{database}")
    with closing(runtime.Runtime(Settings.load())) as parts:
        every = EveryEmail(parts)
        for user_id in ("1", "2", "3"):
            content = Content(user=User(email="ada@example.com", id=user_id))
            every.finish(every.record(user_id, content=content), State.CAPTURED, CAPTURED)
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
    with closing(runtime.Runtime(Settings.load())) as parts:
        every = EveryEmail(parts)
        ids = [every.record("own"), every.record("other", "verification")]
        parts.publications.mark_queued(ids)
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
