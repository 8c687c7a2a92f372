"""Who has access to the dashboard, and that it changes and reveals nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import pytest
from sqlalchemy import select

from mailctl import runtime, web
from mailctl.delivery_log.api_keys import generate_api_key
from mailctl.delivery_log.retention import Retention
from mailctl.delivery_log.storage.tables import web_sessions
from mailctl.delivery_log.web_sessions import SESSION_LIFETIME, WebSessions, new_session_token
from mailctl.settings import Settings
from mailctl.web.auth import COOKIE_NAME, AccessControl
from mailctl.web.email_frame import FRAME_PAGE_CSP
from mailctl.web.login_throttle import MAX_FAILURES, LoginThrottle
from mailctl.web.routing import PAGE_CSP
from tests.integration.web.site import ENDPOINTS, PAGES, Site
from tests.servers import free_port
from tests.web_server import serving

if TYPE_CHECKING:
    from pathlib import Path


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
