"""The previews of all kinds of email: narrow and wide, light and dark, as HTML, text, headers and source."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from starlette.responses import HTMLResponse, Response

from mailctl import runtime
from mailctl.errors import NotFound, suggest_name
from mailctl.web.email_frame import FRAME_PAGE_CSP, frame_document
from mailctl.web.preview_checks import CheckedPreview, check_preview, with_color_scheme
from mailctl.web.routing import ApiRoute, PageRoute
from mailctl.web.templating import render


class Width(StrEnum):
    """The width of the screen."""

    PHONE = "phone"
    DESKTOP = "desktop"


class ColorScheme(StrEnum):
    """The colour scheme that the reader prefers."""

    LIGHT = "light"
    DARK = "dark"


class Part(StrEnum):
    """The part of the message that is shown."""

    HTML = "html"
    TEXT = "text"
    HEADERS = "headers"
    SOURCE = "source"


class PreviewVersion(BaseModel):
    """The version of a preview, which changes when its template does."""

    version: str


UserId = Annotated[str, Query(max_length=64)]
router = APIRouter(route_class=PageRoute, default_response_class=HTMLResponse, include_in_schema=False)
version_router = APIRouter(route_class=ApiRoute, include_in_schema=False)


@router.get("/previews", name="mailctl:previews")
def previews_page(request: Request) -> Response:
    """List all kinds of email with their findings."""
    parts = runtime.current()
    previews = [check_preview(parts, kind, user_id=None) for kind in parts.catalog.kinds.values()]
    return render(request, "previews.html", previews=previews)


@router.get("/previews/{kind}", name="mailctl:preview")
def preview_page(
    request: Request,
    kind: str,
    width: Width = Width.DESKTOP,
    scheme: ColorScheme = ColorScheme.LIGHT,
    part: Part = Part.HTML,
    user_id: UserId = "",
) -> Response:
    """Show a preview of one kind with its findings."""
    preview = _checked_preview(kind, user_id)
    page = render(
        request,
        "preview.html",
        preview=preview,
        frame=frame_document(with_color_scheme(preview.html, dark=scheme is ColorScheme.DARK)),
        kinds=list(runtime.current().catalog.kinds),
        selected={"width": width, "scheme": scheme, "part": part, "user_id": user_id},
        choices={"part": list(Part), "width": list(Width), "scheme": list(ColorScheme)},
    )
    page.headers["Content-Security-Policy"] = FRAME_PAGE_CSP
    return page


@version_router.get("/previews/{kind}/version", name="mailctl:preview_version")
def preview_version(kind: str, user_id: UserId = "") -> PreviewVersion:
    """Return the version of a preview, by which a page knows whether it is out of date."""
    return PreviewVersion(version=_checked_preview(kind, user_id).version)


def _checked_preview(kind: str, user_id: str) -> CheckedPreview:
    parts = runtime.current()
    kinds = parts.catalog.kinds
    if kind not in kinds:
        raise NotFound(f"There is no kind {kind!r}.", fix=suggest_name(kind, kinds))
    return check_preview(parts, kinds[kind], user_id=user_id.strip() or None)
