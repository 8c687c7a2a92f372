"""The dashboard on a real port: who has access, what is shown, and that it changes and reveals nothing."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import pytest
import schemathesis
from fastapi import Depends, FastAPI, Header, HTTPException
from hypothesis import HealthCheck
from hypothesis import given as drawn
from hypothesis import settings as bounds
from pydantic import BaseModel
from sqlalchemy import select

from mailctl import runtime, web
from mailctl.delivery_log.api_keys import generate_api_key
from mailctl.delivery_log.pauses import PauseScope
from mailctl.delivery_log.retention import Retention
from mailctl.delivery_log.storage.tables import web_sessions
from mailctl.delivery_log.web_sessions import SESSION_LIFETIME, WebSessions, new_session_token
from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.domain.factory import make_content, make_user
from mailctl.domain.models import State
from mailctl.domain.outcomes import Outcome, OutcomeKind, SmtpReply
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.enqueuer import Enqueuer
from mailctl.feedback import Feedback, FeedbackKind, Proof, record
from mailctl.monitoring.incident.report import find_logged_incident
from mailctl.runtime import Runtime
from mailctl.settings import Settings
from mailctl.web.auth import COOKIE_NAME, AccessControl
from mailctl.web.email_frame import FRAME_PAGE_CSP
from mailctl.web.login_throttle import MAX_FAILURES, LoginThrottle
from mailctl.web.overview_figures import SHARED_SECONDS, overview_figures
from mailctl.web.routing import PAGE_CSP
from tests.servers import free_port
from tests.web_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "canary-token-that-nobody-may-read"
PAGES = (
    *("/", "/overview", "/emails", "/queues", "/workers", "/stats", "/suppressions", "/check-config"),
    *("/emails/{id}", "/previews", "/previews/reset"),
)
ENDPOINTS = (
    *("/readyz", "/metrics", "/api/overview", "/api/emails", "/api/emails/{id}", "/api/emails/{id}/why"),
    *("/api/queues", "/api/workers", "/api/stats", "/api/suppressions", "/api/openapi.json", "/api/other"),
    "/previews/reset/version",
)
#: The routes that need no key.
OPEN = {"/healthz", "/login", "/logout", "/static/{name}"}


class Site:
    """A running dashboard, and its delivery log."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.key = runtime.current().api_keys.create("test")
        self.email_id = self.record("ada@example.com")

    def record(self, address: str, kind: str = "reset") -> str:
        """Record an email, with a token of the service."""
        parts = runtime.current()
        tokens = {"token": TOKEN} if kind == "reset" else {}
        content = make_content(
            BUILT_IN_KINDS[kind], make_user(email=address, id="7"), origins=parts.link_origins, tokens=tokens
        )
        return Enqueuer(parts).record(EmailRequest(kind=BUILT_IN_KINDS[kind]), [content]).ids[0]

    def client(self, key: str | None = None) -> httpx.Client:
        """Return a client with a key, or without one."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.address, headers=headers, timeout=120)

    def all_paths(self, app: FastAPI) -> list[str]:
        """Return a path for each route of an application that needs a key."""
        parts = {"{task_id}": self.email_id, "{kind}": "reset", "{unknown:path}": "other"}
        found = [path for path in _route_paths(app.routes) if path not in OPEN and not _is_redirect(path)]
        for name, value in parts.items():
            found = [path.replace(name, value) for path in found]
        assert not [path for path in found if "{" in path]
        return found

    def paths(self, patterns: tuple[str, ...]) -> list[str]:
        """Return the paths of the email of this log."""
        return [pattern.format(id=self.email_id) for pattern in patterns]


def _is_redirect(path: str) -> bool:
    """Whether a path has a slash too many, and so leads to the path without it."""
    return path.endswith("/") and path != "/"


def _route_paths(routes: Any) -> list[str]:
    found: list[str] = []
    for route in routes:
        # FastAPI keeps routers that were included as they are, or copies their routes.
        inner = getattr(route, "original_router", None)
        found += _route_paths(inner.routes) if inner else [route.path]
    return found


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """Settings with an empty delivery log."""
    made = Settings(mailctl_home=tmp_path / "home")
    runtime.close()
    runtime.configure(made)
    yield made
    runtime.close()


@pytest.fixture
def site(settings: Settings) -> Iterator[Site]:
    """The dashboard as an application."""
    with serving(web.create_app(settings)) as address:
        yield Site(address)


class TestAccess:
    @pytest.mark.parametrize("credential", ["none", "wrong", "revoked", "garbage", "no session"])
    def test_every_route_needs_a_valid_key(self, settings: Settings, credential: str) -> None:
        """Except those in `OPEN`: programs get status 401, browsers are redirected to the sign-in page."""
        app = web.create_app(settings, access=AccessControl(throttle=LoginThrottle(most=10**9)))
        with serving(app) as address:
            site = Site(address)
            key = {"wrong": f"mk_{site.key.id}_wrong", "garbage": "é'\"", "revoked": site.key.plaintext}.get(
                credential
            )
            if credential == "revoked":
                runtime.current().api_keys.revoke(site.key.id)
            with site.client() as client:
                if key:
                    client.headers = httpx.Headers({"Authorization": f"Bearer {key}"}, encoding="utf-8")
                if credential == "no session":
                    client.cookies.set(COOKIE_NAME, "forged")
                for path in site.all_paths(app):
                    answer = client.get(path)
                    is_page = answer.headers.get("location", "").startswith("/login?next=%2F")
                    assert answer.status_code == (303 if is_page else 401), path
                    assert is_page or answer.headers["content-type"] == "application/problem+json"
                    assert site.email_id not in answer.text.replace(path, "")
                assert client.get("/healthz").json() == {"status": "ok"}

    def test_every_route_is_tested(self, site: Site, settings: Settings) -> None:
        """A new route has to be added to the lists above."""
        assert set(site.all_paths(web.create_app(settings))) == set(site.paths((*PAGES, *ENDPOINTS)))

    def test_a_key_gives_access_to_every_route(self, site: Site) -> None:
        """As a bearer token; the time of its last use is recorded."""
        with site.client(site.key.plaintext) as client:
            for path in site.paths((*PAGES, *ENDPOINTS)):
                expected = {"/": 303, "/api/other": 404}.get(path, 200)
                assert client.get(path).status_code == expected, path
        [key] = runtime.current().api_keys.list()
        assert key.last_used_at is not None

    def test_only_the_hash_of_a_key_is_stored(self, site: Site) -> None:
        """The key itself is in no file of the delivery log."""
        secret = site.key.plaintext.partition(f"{site.key.id}_")[2].encode()
        assert len(secret) > 40
        home = runtime.current().settings.mailctl_home
        assert not [file for file in home.rglob("*") if file.is_file() and secret in file.read_bytes()]

    def test_a_key_begins_a_session(self, site: Site) -> None:
        """No script and no other site can use the cookie; the session ends when the key is revoked."""
        with site.client() as client:
            client.headers["Origin"] = site.address
            form = {"key": site.key.plaintext, "next": "/workers"}
            answer = client.post("/login", data=form)
            assert (answer.status_code, answer.headers["location"]) == (303, "/workers")
            cookie = answer.headers["set-cookie"]
            assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
            assert site.key.plaintext not in cookie
            assert client.get("/workers").status_code == 200
            runtime.current().api_keys.revoke(site.key.id)
            assert client.get("/workers").status_code == 303

    def test_signing_out_ends_the_session(self, site: Site) -> None:
        """The cookie is deleted, and a copy of it is worth nothing."""
        with site.client() as client, site.client() as thief:
            client.headers["Origin"] = site.address
            client.post("/login", data={"key": site.key.plaintext})
            thief.cookies.set(COOKIE_NAME, client.cookies[COOKIE_NAME])
            assert thief.get("/emails").status_code == 200
            assert client.post("/logout").status_code == 303
            assert client.get("/emails").status_code == 303
            assert thief.get("/emails").status_code == 303

    def test_a_session_is_a_row_without_its_token(self, site: Site) -> None:
        """It expires, and then its row is deleted by the next one, or by pruning."""
        sessions = runtime.current().web_sessions
        token = sessions.begin(site.key.id)
        now = datetime.now(UTC)
        later = WebSessions(runtime.current().engine, clock=lambda: now + SESSION_LIFETIME)
        assert (sessions.is_valid(token), later.is_valid(token)) == (True, False)
        with runtime.current().engine.connect() as connection:
            [row] = connection.execute(select(web_sessions)).all()
        assert token not in str(row)
        list(Retention(runtime.current().engine).prune(contents_before=now, emails_before=now))
        assert sessions.is_valid(token)
        list(
            Retention(runtime.current().engine, clock=lambda: now + SESSION_LIFETIME).prune(
                contents_before=now, emails_before=now
            )
        )
        assert not sessions.is_valid(token)

    @pytest.mark.parametrize("path", ["/emails", "/api/emails", "/login", "/emails/"])
    def test_other_host_names_are_refused(self, settings: Settings, path: str) -> None:
        """DNS rebinding: a page of another site whose name leads here counts as the same origin."""
        app = web.create_app(settings, access=AccessControl(own_hosts=frozenset()))
        with serving(app) as address:
            site = Site(address)
            with site.client(site.key.plaintext) as client:
                answer = client.get(path, headers={"Host": "evil.example:8025"})
                assert answer.status_code == 400
                assert "MAILCTL_WEB_HOSTS" in answer.text
                assert "evil.example" not in answer.text
                assert client.get("/healthz", headers={"Host": "evil.example"}).status_code == 200
                assert client.get(path).status_code in (200, 303)

    def test_redirects_name_no_host(self, site: Site) -> None:
        """A slash too many leads to the path without it, with the headers of every response."""
        with site.client(site.key.plaintext) as client:
            for path in site.paths((*PAGES[1:], *ENDPOINTS)):
                if path == "/api/other":
                    continue
                answer = client.get(f"{path}/?x=1", headers={"Host": "evil.example"})
                assert (answer.status_code, answer.headers["location"]) == (303, f"{path}?x=1"), path
                assert answer.headers["content-security-policy"] == PAGE_CSP

    def test_unknown_parameters_are_refused(self, site: Site) -> None:
        """A filter with a typo would show every email."""
        with site.client(site.key.plaintext) as client:
            for path in site.paths((*PAGES, *ENDPOINTS)):
                answer = client.get(f"{path}?foo%1b=1")
                assert answer.status_code == 422, path
                assert "\x1b" not in answer.text
            answer = client.get("/api/emails?stat=failed")
            assert "state" in answer.json()["fix"]
        with site.client() as client:
            assert client.get("/api/emails?stat=failed").status_code == 401

    @pytest.mark.parametrize("next_page", ["https://evil.example/", "//evil.example", "/\\evil.example", ""])
    def test_signing_in_redirects_to_no_other_site(self, site: Site, next_page: str) -> None:
        """Whatever the `next` parameter is."""
        with site.client() as client:
            client.headers["Origin"] = site.address
            answer = client.post("/login", data={"key": site.key.plaintext, "next": next_page})
            assert answer.headers["location"] == "/"

    @pytest.mark.parametrize(
        "headers", [{}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
    )
    def test_forms_of_other_sites_are_refused(self, site: Site, headers: dict[str, str]) -> None:
        """For signing in and for signing out."""
        with site.client() as client:
            for path in ("/login", "/logout"):
                answer = client.post(path, data={"key": site.key.plaintext}, headers=headers)
                assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)

    def test_invalid_keys_are_limited(self, site: Site) -> None:
        """After some of them an address has to wait; valid keys and sessions are not affected.

        Neither does another address in X-Forwarded-For help.
        """
        with site.client() as signed_in, site.client() as client:
            signed_in.headers["Origin"] = client.headers["Origin"] = site.address
            signed_in.post("/login", data={"key": site.key.plaintext})
            for _ in range(MAX_FAILURES):
                assert client.post("/login", data={"key": "mk_1_x"}).status_code == 401
            answer = client.post("/login", data={"key": "mk_1_x"})
            assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (429, True)
            assert client.get("/api/emails", headers={"Authorization": "Bearer x"}).status_code == 429
            assert signed_in.get("/emails").status_code == 200
            assert client.post("/login", data={"key": site.key.plaintext}).status_code == 303
            key = {"Authorization": f"Bearer {site.key.plaintext}"}
            assert client.get("/metrics", headers=key).status_code == 200

    def test_every_response_has_the_security_headers(self, site: Site) -> None:
        """Pages, endpoints and errors; inline styles only around the frame of an email; no caching."""
        with site.client(site.key.plaintext) as client:
            for path in (*site.paths((*PAGES, *ENDPOINTS)), "/login", "/nothing", "/static/page.js"):
                headers = client.get(path).headers
                policy = headers["content-security-policy"]
                shows_email = path in site.paths(("/emails/{id}", "/previews/reset"))
                assert policy == (FRAME_PAGE_CSP if shows_email else PAGE_CSP), path
                assert headers["cache-control"] == "no-store"
                assert headers["x-content-type-options"] == "nosniff"

    def test_it_is_read_only(self, site: Site) -> None:
        """All other methods are refused, and the log is not changed."""
        with site.client(site.key.plaintext) as client:
            for path in site.paths((*PAGES, *ENDPOINTS)):
                for method in ("POST", "PUT", "PATCH", "DELETE"):
                    assert client.request(method, path).status_code == 405, (method, path)
        assert len(runtime.current().history.events(site.email_id)) == 1


class TestWithoutDatabase:
    """A client without a valid key learns nothing about the database."""

    URL = "postgresql://hunter:secret@127.0.0.1:{port}/ledger"

    @pytest.mark.parametrize("credential", ["bearer", "cookie", "form"])
    def test_a_database_that_is_down_is_not_described(self, tmp_path: Path, credential: str) -> None:
        """Not by its host, port, user or name; what is wrong is in the log of the server."""
        port = free_port()
        settings = Settings(mailctl_home=tmp_path, mailctl_database_url=self.URL.format(port=port))
        runtime.close()
        with serving(web.create_app(settings)) as address, httpx.Client(base_url=address) as client:
            client.headers["Origin"] = address
            key = generate_api_key("nobody's").plaintext
            if credential == "form":
                answer = client.post("/login", data={"key": key})
            elif credential == "cookie":
                answer = client.get("/api/emails", headers={"Cookie": f"{COOKIE_NAME}={new_session_token()}"})
            else:
                answer = client.get("/api/emails", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 503
        assert not [word for word in ("hunter", "ledger", "127.0.0.1", str(port)) if word in answer.text]

    def test_a_nul_is_not_looked_up(self, tmp_path: Path, postgres_url: str) -> None:
        """PostgreSQL refuses it, and its error would name the database."""
        settings = Settings(mailctl_home=tmp_path, mailctl_database_url=postgres_url)
        runtime.close()
        with serving(web.create_app(settings)) as address, httpx.Client(base_url=address) as client:
            client.headers["Origin"] = address
            for key in ("mk_%00_x", "mk_1234567%00_" + "x" * 43):
                answer = client.post(
                    "/login",
                    content=f"key={key}",
                    headers={"Content-Type": "application/x-www-form-urlencoded"},
                )
                assert answer.status_code == 401
                assert postgres_url.rpartition("/")[2] not in answer.text


class TestContents:
    def test_links_and_tokens_are_masked(self, site: Site) -> None:
        """On the page, in the frame, and in the API."""
        with site.client(site.key.plaintext) as client:
            for path in site.paths(PAGES + ENDPOINTS):
                text = client.get(path).text
                assert TOKEN not in text
                assert not re.search(r"\?t=(?!\*\*\*|…|SAMPLE-)", text)
            assert "/reset-password?t=***" in client.get(f"/emails/{site.email_id}").text

    def test_filters_are_those_of_the_command(self, site: Site) -> None:
        """Empty fields of the form are ignored; the page shows the command that prints the same list."""
        other = site.record("zoe@example.com", kind="welcome")
        with site.client(site.key.plaintext) as client:
            page = client.get("/emails?to=ZOE&state=&kind=welcome&error=&since=1h").text
            assert (other in page, site.email_id in page) == (True, False)
            assert "mailctl list --kind welcome --to ZOE --since 1h" in page
            found = client.get("/api/emails", params={"kind": "reset"}).json()
            assert [each["task_id"] for each in found["emails"]] == [site.email_id]
            assert client.get("/emails?state=gone").status_code == 422
            assert client.get("/api/emails?since=soon").status_code == 422

    @pytest.mark.parametrize("path", ["/emails", "/api/emails"])
    def test_an_unknown_queue_or_campaign_is_an_error(self, site: Site, path: str) -> None:
        """It is not an empty list, as for `mailctl list`; a known queue without emails is one."""
        with site.client(site.key.plaintext) as client:
            unknown = client.get(path, params={"queue": "clery"})
            assert unknown.status_code == 404
            assert "There is no queue" in unknown.text
            assert "Did you mean" in unknown.text
            assert client.get(path, params={"queue": "mailctl.bulk"}).status_code == 200
            assert client.get(path, params={"campaign": "sprnig"}).status_code == 404

    def test_every_email_is_on_one_page(self, site: Site) -> None:
        """The cursor of a page leads to the next one."""
        ids = [site.email_id, *(site.record(f"user{number}@example.com") for number in range(4))]
        with site.client(site.key.plaintext) as client:
            first = client.get("/api/emails?limit=3").json()
            rest = client.get(f"/api/emails?limit=3&after={first['next']}").json()
            listed = [each["task_id"] for each in (*first["emails"], *rest["emails"])]
            assert (listed, rest["next"]) == (ids[::-1], None)
            assert 'rel="next"' in client.get("/emails?limit=3").text

    def test_one_email_is_explained(self, site: Site) -> None:
        """With its events and the commands that apply; a unique prefix of its id is enough."""
        with site.client(site.key.plaintext) as client:
            page = client.get(f"/emails/{site.email_id[:8]}").text
            assert "no worker" in page
            assert f"mailctl cancel {site.email_id}" in page
            answer = client.get(f"/api/emails/{site.email_id}").json()
            assert (answer["state"], answer["events"][0]["state"]) == ("pending", "pending")
            assert client.get("/emails/ffffffff").status_code == 404

    def test_text_is_escaped(self, site: Site) -> None:
        """Markup in a reason is shown as text."""
        runtime.current().publications.fail(site.email_id, reason="<script>alert(1)</script>")
        with site.client(site.key.plaintext) as client:
            for path in ("/emails", f"/emails/{site.email_id}"):
                assert "<script>alert" not in client.get(path).text


def test_the_statistics_have_what_became_of_accepted_emails(site: Site) -> None:
    """As `mailctl stats` has: the totals, and the shares of each group."""
    parts = runtime.current()
    [claim] = parts.claims.claim([site.email_id], worker="w@host").claims
    accepted = Outcome(kind=OutcomeKind.ACCEPTED, reply=SmtpReply(code=250, text="ok"), stage="body")
    parts.attempt_results.finish(claim, State.SENT, outcome=accepted, message_id="<a@shop.example>")
    bounce = Feedback(
        source="dsn",
        source_id="1",
        kind=FeedbackKind.BOUNCED,
        proof=Proof.VERIFIED,
        email_id=site.email_id,
        recipient="ada@example.com",
    )
    assert record(parts, [bounce]).recorded == 1
    with site.client(site.key.plaintext) as client:
        page = client.get("/stats", params={"by": "provider"}).text
    assert '<td data-name="bounced">100.0%</td>' in page
    assert '<td data-name="delivered">-</td>' in page
    assert "<dt>Bounced</dt><dd><b>1</b>" in page


def test_it_can_be_mounted_in_a_service(settings: Settings) -> None:
    """Under a prefix: all links and the session cookie have it."""
    app = FastAPI()
    app.include_router(web.router, prefix="/ops/mail")
    with serving(app) as address:
        site = Site(address)
        with site.client() as client:
            client.headers["Origin"] = address
            led = client.get("/ops/mail/emails")
            assert led.headers["location"].startswith("/ops/mail/login?next=%2Fops%2Fmail%2Femails")
            answer = client.post(
                "/ops/mail/login", data={"key": site.key.plaintext, "next": "/ops/mail/workers"}
            )
            assert answer.headers["location"] == "/ops/mail/workers"
            assert "Path=/ops/mail/" in answer.headers["set-cookie"]
            page = client.get("/ops/mail/emails").text
            links = [part.partition('"')[0] for part in page.split('href="')[1:] + page.split('src="')[1:]]
            assert all(link.startswith(("/ops/mail/", "#", "data:,", "?")) for link in links)
            document = client.get("/ops/mail/api/openapi.json").json()
            assert document["servers"] == [{"url": "/ops/mail"}]


def test_it_can_be_mounted_under_a_name(settings: Settings) -> None:
    """As an application of its own, which Starlette then looks for under that name."""
    app = FastAPI()
    app.mount("/x", web.create_app(settings), name="mail")
    with serving(app) as address:
        site = Site(address)
        with site.client(site.key.plaintext) as client:
            page = client.get("/x/emails")
            assert page.status_code == 200
            assert f'href="/x/emails/{site.email_id}"' in page.text
            assert client.get("/x/api/openapi.json").json()["servers"] == [{"url": "/x"}]


class TestOverview:
    def test_it_begins_with_what_is_wrong(self, site: Site) -> None:
        """In words and colours, as `mailctl incident` says it, such as a paused queue without a worker."""
        parts = runtime.current()
        parts.pauses.pause(PauseScope.QUEUE, "celery", actor="zoe", reason="maintenance")
        with site.client(site.key.plaintext) as client:
            page = client.get("/overview").text
        first = find_logged_incident(parts).problems[0]
        assert page.index(escape(first.sentence)) < page.index("Last minute")
        assert 'class="state fail">fail' in page
        assert '<span class="state paused">paused</span> <span class="state fail">no worker</span>' in page
        assert '<b class="danger">0</b>' in page  # workers

    def test_pages_agree_on_how_long_the_oldest_email_has_waited(self, site: Site) -> None:
        """Whatever page one looks at."""
        ages = {}
        with site.client(site.key.plaintext) as client:
            for page in ("/overview", "/queues"):
                found = re.search('data-name="oldest">([^<]+)<', client.get(page).text)
                assert found is not None
                ages[page] = found[1]
        assert "-" not in ages.values()

    def test_viewers_share_its_figures(self, settings: Settings) -> None:
        """For two seconds; then, or in another runtime, they are read again."""
        parts, now = runtime.current(), [0.0]
        first = overview_figures(parts, clock=lambda: now[0])
        now[0] = SHARED_SECONDS - 0.1
        assert overview_figures(parts, clock=lambda: now[0]) is first
        now[0] = SHARED_SECONDS
        second = overview_figures(parts, clock=lambda: now[0])
        assert second is not first
        other = Runtime(settings)
        assert overview_figures(other, clock=lambda: now[0]) is not second
        other.close()


class TestInAService:
    def test_it_leaves_the_openapi_document_of_the_service_alone(self, settings: Settings) -> None:
        """Its paths are those of the service, and its models keep their names; its own document has all."""

        class Problem(BaseModel):
            text: str

        app = FastAPI()
        app.include_router(web.router, prefix="/mail")
        app.add_api_route("/orders", lambda: None, responses={400: {"model": Problem}})
        document = app.openapi()
        assert list(document["paths"]) == ["/orders"]
        assert "Problem" in document["components"]["schemas"]
        wanted = FastAPI()
        wanted.include_router(web.make_router(include_in_schema=True), prefix="/mail")
        with serving(app) as address:
            site = Site(address)
            with site.client(site.key.plaintext) as client:
                own = client.get("/mail/api/openapi.json").json()
        assert {f"/mail{path}" for path in own["paths"]} == set(wanted.openapi()["paths"])
        assert len(own["paths"]) > 8

    def test_the_sign_in_of_the_service_can_decide(self, settings: Settings) -> None:
        """Its dependency guards pages and API; there is no other door, and no button to sign out."""

        def require_staff(x_staff: Annotated[str, Header()] = "") -> None:
            if not x_staff:
                raise HTTPException(303, headers={"Location": "/staff/login"})

        app = FastAPI()
        app.include_router(web.make_router(authorize=Depends(require_staff)), prefix="/mail")
        with serving(app) as address:
            site = Site(address)
            with site.client(site.key.plaintext) as client:
                for path in ("/mail/overview", "/mail/api/emails", "/mail/metrics"):
                    refused = client.get(path)
                    assert (refused.status_code, refused.headers["location"]) == (303, "/staff/login")
                    assert client.get(path, headers={"X-Staff": "zoe"}).status_code == 200
                assert client.get("/mail/login").status_code == 404
                page = client.get("/mail/overview", headers={"X-Staff": "zoe"}).text
                assert "Sign out" not in page
                assert client.get("/mail/static/style.css").status_code == 200


class TestRequests:
    def test_what_answers_get_answers_head(self, site: Site) -> None:
        """Without a body, as probes and link checkers ask."""
        with site.client(site.key.plaintext) as client:
            for path in (
                "/healthz",
                "/login",
                "/static/style.css",
                *site.paths(("/overview", "/api/emails")),
            ):
                shown, head = client.get(path), client.head(path)
                assert (head.status_code, head.content) == (200, b""), path
                assert head.headers["content-type"] == shown.headers["content-type"]
        with site.client() as client:
            assert client.head("/api/emails").status_code == 401

    def test_a_browser_gets_a_page_for_an_address_that_does_not_exist(self, site: Site) -> None:
        """A program gets a problem document."""
        with site.client() as client:
            page = client.get("/nope", headers={"Accept": "text/html,*/*"})
            assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
            assert "Not Found" in page.text
            assert page.headers["x-frame-options"] == "DENY"
            assert client.get("/nope").headers["content-type"] == "application/problem+json"

    @pytest.mark.parametrize(
        ("path", "status"),
        [("/emails?since=foo", 422), ("/emails?queue=clery", 404), ("/stats?until=foo", 422)],
    )
    def test_a_wrong_filter_is_reported_beside_the_form(self, site: Site, path: str, status: int) -> None:
        """Where it can be corrected, with what was typed in it."""
        with site.client(site.key.plaintext) as client:
            page = client.get(path)
            assert page.status_code == status
            assert 'role="alert"' in page.text
            assert f'value="{path.rpartition("=")[2]}"' in page.text

    def test_the_search_box_opens_the_email_that_it_names(self, site: Site) -> None:
        """By its id, the start of it or its idempotency key; a part of an address finds a list."""
        parts = runtime.current()
        user = make_user(email="zoe@example.com", id="8")
        content = make_content(BUILT_IN_KINDS["welcome"], user, origins=parts.link_origins)
        request = EmailRequest(kind=BUILT_IN_KINDS["welcome"], idempotency_key="order-17")
        [other] = Enqueuer(parts).record(request, [content]).ids
        with site.client(site.key.plaintext) as client:
            for text, found in ((other, other), (site.email_id[:12], site.email_id), ("order-17", other)):
                answer = client.get("/emails", params={"to": text})
                assert answer.headers.get("location") == f"/emails/{found}", text
            assert other in client.get("/emails", params={"to": "zoe@"}).text
            assert client.get("/emails", params={"to": other, "kind": "welcome"}).status_code == 200
            assert "No emails match" in client.get("/emails", params={"to": "order-18"}).text

    def test_errors_have_the_names_of_parameters(self, site: Site) -> None:
        """Not those of the options of a command."""
        with site.client(site.key.plaintext) as client:
            problem = client.get("/api/stats", params={"since": "1h", "until": "2h"}).json()
            assert problem["detail"] == "until must be later than since."


def test_every_response_matches_the_openapi_document(settings: Settings) -> None:
    """Schemathesis: no status 500, and the status, type and content of every response are documented."""
    patient = AccessControl(throttle=LoginThrottle(most=10**9))
    with serving(web.create_app(settings, access=patient)) as address:
        _examine(Site(address))


def _examine(site: Site) -> None:
    with site.client(site.key.plaintext) as client:
        document: dict[str, Any] = client.get("/api/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=site.address)
    headers = {"Authorization": f"Bearer {site.key.plaintext}"}
    answered: list[int] = []
    # The schema cannot express which texts are valid times.
    [accepts_valid] = schemathesis.checks.CHECKS.get_by_names(["positive_data_acceptance"])
    for operation in schema.get_all_operations():

        @drawn(case=operation.ok().as_strategy())
        @bounds(max_examples=10, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        def check(case: Any) -> None:
            answered.append(
                case.call_and_validate(headers=headers, excluded_checks=[accepts_valid]).status_code
            )

        check()
    assert {200, 404, 422} <= set(answered)
    assert max(answered) < 500


class TestPreviews:
    def test_every_kind_is_shown_and_checked(self, site: Site) -> None:
        """As HTML, text, headers and source, with links that do not work; built-in kinds have no findings."""
        with site.client(site.key.plaintext) as client:
            overview = client.get("/previews").text
            assert all(f"/previews/{kind}" in overview for kind in BUILT_IN_KINDS)
            for kind in BUILT_IN_KINDS:
                for part in ("html", "text", "headers", "source"):
                    page = client.get(f"/previews/{kind}?part={part}&width=phone")
                    assert page.status_code == 200
                    assert 'state warn"' not in page.text
                    assert 'state fail"' not in page.text
            assert "SAMPLE-this-link-does-not-work" in client.get("/previews/reset?part=text").text
            assert client.get("/previews/nothing").status_code == 404

    def test_a_preview_can_have_a_real_user(self, site: Site) -> None:
        """The user is looked up as by the commands."""
        with site.client(site.key.plaintext) as client:
            assert "ada@example.com" in client.get("/previews/welcome?part=headers&user_id=1").text
            assert client.get("/previews/welcome?user_id=999").status_code == 404

    def test_a_template_that_changes_shows_at_once(self, settings: Settings, tmp_path: Path) -> None:
        """The version changes; a missing variable, a broken link and low contrast are reported."""
        folder = tmp_path / "templates"
        folder.mkdir()
        (folder / "welcome.txt").write_text("Hello\n")
        (folder / "welcome.html").write_text("<p>Hello</p>")
        with serving(web.create_app(settings.model_copy(update={"mailctl_templates": folder}))) as address:
            site = Site(address)
            with site.client(site.key.plaintext) as client:
                before = client.get("/previews/welcome/version").json()["version"]
                assert client.get("/previews/welcome/version").json()["version"] == before
                (folder / "welcome.html").write_text('<p style="color:#aaaaaa">Hi <a href="#">x</a></p>')
                assert client.get("/previews/welcome/version").json()["version"] != before
                page = client.get("/previews/welcome").text
                assert "not absolute URLs: #" in page
                assert "2.32:1" in page
                (folder / "welcome.html").write_text("<p>{{ nothing }}</p>")
                page = client.get("/previews/welcome").text
                assert re.search("template instead of yours: [^<]*the variable nothing is missing", page)
