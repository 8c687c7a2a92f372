"""The whole circle: sign up, one transaction, worker, email, link, page, button; and its siblings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.browser import open_browser
from tests.acceptance.conftest import SECRET_KEY, SMTP_PASSWORD
from tests.acceptance.service import Mailbox, body, links_in, running_service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage
    from pathlib import Path

    import httpx

    from tests.acceptance.terminal import Terminal, Window
    from tests.servers import RedisServer
    from tests.smtp_server import Certificates, ScriptedSmtpServer

PASSWORD = "correct horse battery"
on_both = pytest.mark.parametrize("circle", ["memory", "production"], indirect=True)
ZOE = {"email": "zoe@example.com", "username": "zoe", "password": PASSWORD}


class Circle:
    """A service, a worker beside it, and the mailbox of the one who signs up."""

    def __init__(self, service: httpx.Client, worker: Window, mailbox: Mailbox) -> None:
        self.service = service
        self._worker = worker
        self._mailbox = mailbox

    def message(self, number: int) -> EmailMessage:
        """Wait for the email with that number, from 1 on."""
        return self._mailbox.messages(number, self._worker)[number - 1]

    def sign_in(self, password: str, ip: str = "203.0.113.7") -> int:
        """Return the status of the answer."""
        return self.service.post("/sign-in", json={**ZOE, "password": password, "ip": ip}).status_code

    def sign_up_and_confirm(self) -> None:
        """Have an account that may sign in."""
        assert self.service.post("/new-account", data=ZOE).status_code == 201
        [link] = links_in(self.message(1))
        assert self.service.post(link).status_code == 200


@pytest.fixture(params=["memory"])
def circle(request: pytest.FixtureRequest, terminal: Terminal) -> Iterator[Circle]:
    """On `memory://` with SQLite and captured files; on Redis with PostgreSQL and a mail server."""
    server: ScriptedSmtpServer | None = None
    if request.param == "production":
        server = request.getfixturevalue("smtp_server")
        _set_up_production(
            terminal,
            request.getfixturevalue("redis"),
            request.getfixturevalue("postgres_url"),
            server,
            request.getfixturevalue("certificates"),
        )
    with running_service(terminal) as service:
        # All parts of this production are on one computer, the reader's too.
        terminal.environment["MAILCTL_LINK_ORIGINS"] = terminal.environment["FRONTEND_URL"]
        yield Circle(service, terminal.worker("-c", "1"), Mailbox(terminal, server))


def _set_up_production(
    terminal: Terminal,
    redis: RedisServer,
    postgres_url: str,
    server: ScriptedSmtpServer,
    certificates: Certificates,
) -> None:
    terminal.set(
        DEBUG="False",
        REDIS_URL=redis.url,
        SECRET_KEY=SECRET_KEY,
        DATABASE_URL=postgres_url.replace("postgresql:", "postgresql+asyncpg:"),
        MAILCTL_DATABASE_URL=postgres_url,
        EMAIL_ENABLED="True",
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=server.port,
        EMAIL_HOST_USER="app",
        EMAIL_HOST_PASSWORD=SMTP_PASSWORD,
        EMAIL_CA_FILE=certificates.ca_file,
    )


def test_a_newcomer_meets_no_dead_end(circle: Circle) -> None:
    """There is a page to sign in, pages lead on, forms keep what was typed, and errors are pages, too."""
    service, browser = circle.service, {"Accept": "text/html"}
    for path, status in (("/", 200), ("/sign-in", 200), ("/nope", 404), ("/verify-email", 422)):
        shown = service.get(path, headers=browser)
        assert (shown.status_code, 'href="/sign-in"' in shown.text) == (status, True), path
    assert service.get("/nope").json() == {"detail": "Not Found"}
    short = service.post("/new-account", data={**ZOE, "password": "short"}, headers=browser)
    assert (short.status_code, 'value="zoe@example.com"' in short.text) == (422, True)
    circle.sign_up_and_confirm()
    wrong = service.post("/session", data={**ZOE, "password": "wrong"}, headers=browser)
    assert (wrong.status_code, 'value="zoe@example.com"' in wrong.text) == (401, True)
    assert "You are signed in as zoe@example.com" in service.post("/session", data=ZOE).text
    assert service.get("/mail/overview").headers["location"].startswith("/mail/login")


@on_both
def test_somebody_signs_up_and_confirms_the_address(circle: Circle) -> None:
    """A scanner that opens the link changes nothing; the button does, once."""
    assert circle.service.post("/new-account", data=ZOE).status_code == 201
    [link] = links_in(circle.message(1))
    for _ in range(2):
        opened = circle.service.get(link)
        assert (opened.status_code, "<button>" in opened.text) == (200, True)
        assert opened.headers["referrer-policy"] == "no-referrer"
        assert "http" not in opened.text
    assert circle.sign_in(PASSWORD) == 403
    assert circle.service.post(link).status_code == 200
    assert circle.sign_in(PASSWORD) == 200
    assert circle.service.post(link).status_code == 410


def test_links_serve_one_purpose(circle: Circle) -> None:
    """The link of one email opens no other page, and an altered one none."""
    assert circle.service.post("/new-account", data=ZOE).status_code == 201
    [link] = links_in(circle.message(1))
    assert circle.service.get(link.replace("/verify-email", "/reset-password")).status_code == 400
    assert circle.service.post(link.replace("/verify-email", "/api/v1/ip-access/verify")).status_code == 400
    assert circle.service.post(link[:-9] + "x" * 9).status_code == 400


def test_a_forgotten_password_is_replaced(circle: Circle) -> None:
    """By the one who can read the email; the answer does not tell who has an account."""
    circle.sign_up_and_confirm()
    answers = {
        circle.service.post("/new-password", data={"email": address}).text
        for address in (ZOE["email"], "nobody@example.com")
    }
    assert len(answers) == 1
    [link] = links_in(circle.message(2))
    assert circle.service.post(link, data={"password": "short"}).status_code == 422
    assert circle.service.post(link, data={"password": "another password"}).status_code == 200
    assert (circle.sign_in(PASSWORD), circle.sign_in("another password")) == (401, 200)


@pytest.mark.parametrize(("position", "later"), [(0, 200), (1, 403)], ids=["allow", "block"])
def test_a_sign_in_from_a_new_address_is_asked_about(circle: Circle, position: int, later: int) -> None:
    """The answer counts from then on; an address that is known is not asked about again."""
    circle.sign_up_and_confirm()
    assert circle.sign_in(PASSWORD) == 200
    message = circle.message(2)
    assert "203.0.113.7" in body(message, "plain")
    assert circle.service.post(links_in(message)[position]).status_code == 200
    assert circle.sign_in(PASSWORD) == later


@on_both
def test_the_circle_in_a_browser(circle: Circle, tmp_path: Path) -> None:
    """The form, the email as its reader sees it, a click on its button, and a click on the page's."""
    with open_browser(tmp_path) as browser:
        browser.open(str(circle.service.base_url))
        browser.fill("form[action='/new-account'] [name=email]", ZOE["email"])
        browser.fill("form[action='/new-account'] [name=username]", ZOE["username"])
        browser.fill("form[action='/new-account'] [name=password]", PASSWORD)
        browser.click("form[action='/new-account'] button")
        assert "Check your inbox" in browser.text
        email = tmp_path / "email.html"
        email.write_text(body(circle.message(1), "html"))
        browser.open(email.as_uri())
        browser.click("a[href*='/verify-email']")
        assert ZOE["email"] in browser.text
        assert circle.sign_in(PASSWORD) == 403
        browser.click("button")
        assert "Your address is confirmed" in browser.text
        assert circle.sign_in(PASSWORD) == 200
        assert browser.foreign_requests(str(circle.service.base_url)) == []
