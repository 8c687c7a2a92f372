"""The dashboard in the application of a service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel

from mailctl import web
from tests.integration.web.site import Site
from tests.web_server import serving

if TYPE_CHECKING:
    from mailctl.settings import Settings


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
