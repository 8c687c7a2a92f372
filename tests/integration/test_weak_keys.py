"""In production nothing is sealed, opened or verified with a key that everybody knows or can guess."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi import FastAPI

from mailctl import EmailService, celery_app, runtime
from mailctl.errors import ConfigurationError, ExitCode
from mailctl.runtime import Runtime
from mailctl.security import links
from mailctl.security.links import LinkClaims, Links
from mailctl.settings import Settings
from mailctl.settings.secret_keys import DEVELOPMENT_SECRET_KEY, check_keys
from mailctl.web.app import make_router
from tests.integration.test_hostile_urls import EVERY_COMMAND, refusal_code
from tests.integration.test_json import LISTS
from tests.web_server import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.commands import Mailctl

GOOD = "Zb7rT1xQ9mLw4cVn8sKd2yHf6pGj3uEa"
#: Values of SECRET_KEY and MAILCTL_SECRET_KEYS_OLD, and the setting that is to blame.
WEAK = {
    "empty": ("", "", "SECRET_KEY"),
    "published": (DEVELOPMENT_SECRET_KEY, "", "SECRET_KEY"),
    "published, in capitals": (f" {DEVELOPMENT_SECRET_KEY.upper()} ", "", "SECRET_KEY"),
    "too short": ("k" * 31, "", "SECRET_KEY"),
    "one character": ("a" * 32, "", "SECRET_KEY"),
    "few characters": ("abcabdabeabf" * 4 + "a", "", "SECRET_KEY"),
    "a word": ("correct-horse!" * 3, "", "SECRET_KEY"),
    "a placeholder, repeated": ("changeme" * 4, "", "SECRET_KEY"),
    "a placeholder of a framework": (f"django-insecure-{GOOD}", "", "SECRET_KEY"),
    "a placeholder in it": (f"Your_Secret_Key-{GOOD}", "", "SECRET_KEY"),
    "a placeholder earlier": (GOOD, f"django-insecure-{GOOD}", "MAILCTL_SECRET_KEYS_OLD"),
    "short earlier": (GOOD, "short", "MAILCTL_SECRET_KEYS_OLD"),
    "a word earlier": (GOOD, "correct-horse!" * 3, "MAILCTL_SECRET_KEYS_OLD"),
    "a comma earlier": (GOOD, f"{GOOD[::-1]},x", "MAILCTL_SECRET_KEYS_OLD"),
    "only spaces": (" " * 40, "", "SECRET_KEY"),
    "published earlier": (GOOD, f"{GOOD[::-1]}\n{DEVELOPMENT_SECRET_KEY}", "MAILCTL_SECRET_KEYS_OLD"),
}
#: These seal and open nothing, and help to put it right.
WITHOUT_KEYS = {
    *(("init",), ("version",), ("help",), ("config", "show"), ("config", "diff")),
    *(("check-config",), ("db", "current"), ("db", "partition"), ("db", "upgrade")),
}


#: For what asks the one judgement of keys: which keys are weak is tried where it is given.
each_setting = pytest.mark.parametrize("blamed", ["published", "short earlier"], indirect=True)


@pytest.fixture(params=WEAK)
def blamed(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mailctl: Mailctl
) -> str:
    """Production on a weak key; the name of the setting that has it."""
    key, old, setting = WEAK[request.param]
    monkeypatch.setenv("DEBUG", "False")
    monkeypatch.setenv("SECRET_KEY", key)
    monkeypatch.setenv("MAILCTL_SECRET_KEYS_OLD", old)
    monkeypatch.setenv("FRONTEND_URL", "https://shop.internal")
    for name, text in LISTS.items():
        (tmp_path / name).write_text(text)
    return setting


def test_a_key_that_was_made_is_taken() -> None:
    """By the command that errors offer; none is taken for a word by chance."""
    for _ in range(1000):
        check_keys([secrets.token_urlsafe(48), secrets.token_hex(16)])


@each_setting
def test_every_command_refuses_to_run_on_it(mailctl: Mailctl, blamed: str, tmp_path: Path) -> None:
    """In one sentence with the command that makes a better one; nothing was made."""
    for command in EVERY_COMMAND:
        if command[:1] in WITHOUT_KEYS or command[:2] in WITHOUT_KEYS or command[0] == "flower":
            continue
        if command[:2] == ("db", "rekey") and blamed == "MAILCTL_SECRET_KEYS_OLD":
            continue
        ran = mailctl(*command)
        assert (ran.code, len(ran.err.splitlines())) == (refusal_code(command), 1), (
            command,
            ran.out,
            ran.err,
        )
        assert ran.err.startswith(f"error: {blamed} "), command
        assert any(fix in ran.err for fix in ("secrets.token_urlsafe", "Remove it", "one per line"))
    assert not (tmp_path / ".mailctl").exists()


def test_what_needs_no_key_still_runs(mailctl: Mailctl, blamed: str) -> None:
    """So that the fault can be found: check-config names it, with its fix."""
    assert mailctl("--version").code == ExitCode.DONE
    assert mailctl("send", "--help").code == ExitCode.DONE
    assert mailctl("db", "upgrade").code == ExitCode.DONE
    ran = mailctl("check-config", "--offline", "--json")
    [checked] = ran.lines
    found = {check["name"]: check for check in checked["checks"]}
    assert ran.code == ExitCode.FAILED
    assert found[blamed]["status"] == "fail"
    assert found[blamed]["fix"]
    assert found["welcome"]["status"] == "ok"


def test_neither_the_service_nor_its_parts_run_on_it(blamed: str) -> None:
    """EmailService, the runtime of workers and dashboard, and links."""
    settings = Settings.load()
    runtime.configure(settings)
    with pytest.raises(ConfigurationError, match=f"^{blamed} "):
        asyncio.run(EmailService.prepare())
    with pytest.raises(ConfigurationError, match=f"^{blamed} "):
        Runtime(settings)
    with pytest.raises(ConfigurationError, match=f"^{blamed} "):
        Links(settings)


@each_setting
def test_the_dashboard_in_a_service_refuses_every_request(
    blamed: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its sign-in page and files too; only the server's own log says why."""
    runtime.close()
    runtime.configure(Settings.load())
    app = FastAPI()
    app.include_router(make_router(), prefix="/mail")
    headers = {"Authorization": "Bearer mk_0_0"}
    requests = [
        ("GET", path) for path in ("/", "/emails", "/login", "/static/style.css", "/api/emails", "/readyz")
    ] + [("POST", "/login"), ("POST", "/logout")]
    with serving(app) as address, httpx.Client(base_url=f"{address}/mail", timeout=120) as client:
        for method, path in requests:
            for given in ({}, headers):
                answer = client.request(method, path, headers=given)
                assert answer.status_code == 500, (method, path)
                assert "settings of this server are invalid" in answer.text
                assert blamed not in answer.text
        assert client.get("/healthz").status_code == 200
    assert blamed in caplog.text
    assert not runtime.is_open()


def test_a_forged_link_opens_nothing(blamed: str) -> None:
    """Whoever knows the published key makes links with it; the service does not even look at them."""
    forger = Links(Settings(secret_key=DEVELOPMENT_SECRET_KEY))
    claims = LinkClaims(
        purpose="reset-password",
        user_id="1",
        email="admin@shop.internal",
        action=None,
        expires_at=datetime.now(UTC) + timedelta(hours=1),
        token="forged",
    )
    links._service_links.cache_clear()
    with pytest.raises(ConfigurationError, match=f"^{blamed} "):
        links.verify(forger.seal(claims), purpose="reset-password")
    assert celery_app.create_celery_app(Settings.load()).conf.task_default_queue == "celery"


@pytest.mark.parametrize("key", ["", "short"])
def test_development_runs_on_any(mailctl: Mailctl, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """Nothing has to be set up to try it."""
    monkeypatch.setenv("SECRET_KEY", key)
    assert mailctl("send", "welcome", "--user-id", "1").code == ExitCode.DONE


def test_a_weak_earlier_key_is_for_stored_contents_alone(
    mailctl: Mailctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site that had one can leave it behind without losing what waits, and no link opens with it."""
    monkeypatch.setenv("SECRET_KEY", "short")
    sent = mailctl("send", "welcome", "--user-id", "1", "--json")
    assert sent.code == ExitCode.DONE
    monkeypatch.setenv("DEBUG", "False")
    monkeypatch.setenv("FRONTEND_URL", "https://shop.internal")
    monkeypatch.setenv("SECRET_KEY", GOOD)
    monkeypatch.setenv("MAILCTL_SECRET_KEYS_OLD", "short")
    with pytest.raises(ConfigurationError, match=r"^MAILCTL_SECRET_KEYS_OLD "):
        Links(Settings.load())
    assert mailctl("list").code == ExitCode.USAGE
    ran = mailctl("db", "rekey")
    assert ran.code == ExitCode.DONE, ran.err
    assert "encrypted the content of 1 email" in ran.out
    monkeypatch.delenv("MAILCTL_SECRET_KEYS_OLD")
    [checked] = mailctl("db", "rekey", "--json").lines
    assert (checked["resealed"], checked["unreadable"]) == (0, [])
