"""Every kind of email to look at: phone and desk, light and dark, HTML, text, headers and source."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from starlette.responses import HTMLResponse, Response

from mailctl import runtime
from mailctl.errors import NotFound
from mailctl.web.pages.emails import render
from mailctl.web.preview_checks import CheckedPreview, check_preview, with_color_scheme
from mailctl.web.routing import EMAIL_CSP, ApiRoute, PageRoute


class Width(StrEnum):
    """What it is read on."""

    PHONE = "phone"
    DESKTOP = "desktop"


class ColorScheme(StrEnum):
    """What its reader prefers."""

    LIGHT = "light"
    DARK = "dark"


class Part(StrEnum):
    """What is looked at."""

    HTML = "html"
    TEXT = "text"
    HEADERS = "headers"
    SOURCE = "source"


class PreviewVersion(BaseModel):
    """What a page compares to know that a template has changed."""

    version: str


UserId = Annotated[str, Query(max_length=64)]
router = APIRouter(route_class=PageRoute, default_response_class=HTMLResponse, include_in_schema=False)
version_router = APIRouter(route_class=ApiRoute, include_in_schema=False)


@router.get("/previews", name="mailctl:previews")
def previews_page(request: Request) -> Response:
    """Show which kinds there are, and whether something is wrong with them."""
    parts = runtime.current()
    proofs = [check_preview(parts, kind, user_id=None) for kind in parts.catalog.kinds.values()]
    return render(request, "previews.html", proofs=proofs)


@router.get("/previews/{kind}", name="mailctl:preview")
def preview_page(
    request: Request,
    kind: str,
    width: Width = Width.DESKTOP,
    scheme: ColorScheme = ColorScheme.LIGHT,
    part: Part = Part.HTML,
    user_id: UserId = "",
) -> Response:
    """Show one kind, with what is wrong with it beside."""
    return render(
        request,
        "preview.html",
        proof=_checked_preview(kind, user_id),
        kinds=list(runtime.current().catalog.kinds),
        chosen={"width": width, "scheme": scheme, "part": part, "user_id": user_id},
        choices={"part": list(Part), "width": list(Width), "scheme": list(ColorScheme)},
    )


@router.get("/previews/{kind}/html", name="mailctl:preview_html")
def preview_html(kind: str, scheme: ColorScheme = ColorScheme.LIGHT, user_id: UserId = "") -> Response:
    """Return the HTML for the frame on the page: nothing in it runs or loads."""
    html = with_color_scheme(_checked_preview(kind, user_id).html, dark=scheme is ColorScheme.DARK)
    headers = {"Content-Security-Policy": EMAIL_CSP, "X-Frame-Options": "SAMEORIGIN"}
    return HTMLResponse(html, headers=headers)


@version_router.get("/previews/{kind}/version", name="mailctl:preview_version")
def preview_version(kind: str, user_id: UserId = "") -> PreviewVersion:
    """Tell whether a page that shows this kind is out of date."""
    return PreviewVersion(version=_checked_preview(kind, user_id).version)


def _checked_preview(kind: str, user_id: str) -> CheckedPreview:
    parts = runtime.current()
    known = parts.catalog.kinds
    if kind not in known:
        raise NotFound(f"There is no kind {kind!r}.", fix=f"Use one of: {', '.join(known)}.")
    return check_preview(parts, known[kind], user_id=user_id.strip() or None)
