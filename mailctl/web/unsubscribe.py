"""Unsubscribing by one click (RFC 8058): a POST does it, a GET shows a page with a button."""

from __future__ import annotations

import hashlib
import logging
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse, Response
from typing_extensions import override

from mailctl import runtime
from mailctl.delivery_log.reports import UNSUBSCRIBE_SOURCE
from mailctl.delivery_log.storage.time_limit import time_limit
from mailctl.errors import NotFound
from mailctl.feedback import Feedback, FeedbackKind, FeedbackResult, Proof, record
from mailctl.feedback.rejections import rejections_of
from mailctl.security.address_masking import mask_address
from mailctl.security.links import InvalidLink
from mailctl.security.unsubscribe_links import Subscription, unsubscribe_links_from_settings
from mailctl.web.problem import problem_of, without_details
from mailctl.web.routing import PageRoute
from mailctl.web.templating import render

_PATH = "/unsubscribe"
#: Seconds that a delivery log in PostgreSQL may take (SQLite has the same limit); mail programs wait no
#: longer.
_SECONDS = 10.0
_Token = Annotated[str, Query(alias="t")]


class UnsubscribeRoute(PageRoute):
    """A route for recipients: errors are pages without anything of the dashboard."""

    @override
    def error_response(self, request: Request, error: Exception, /) -> Response:
        """Return the page that reports an error."""
        problem = problem_of(without_details(error))
        return render(request, "unsubscribe.html", status_code=problem.status, problem=problem)


def unsubscribe_router() -> APIRouter:
    """Return the routes for unsubscribing: GET and POST /unsubscribe."""
    router = APIRouter(
        route_class=UnsubscribeRoute, default_response_class=HTMLResponse, include_in_schema=False
    )

    _keep_tokens_out_of_the_access_log()

    @router.get(_PATH, name="mailctl:unsubscribe")
    def ask(request: Request, t: _Token = "") -> Response:
        """Show the button. Programs that open each link of an email change nothing by that."""
        return _page(request, _open(t), is_done=False)

    @router.post(_PATH)
    def unsubscribe(request: Request, t: _Token = "") -> Response:
        """Unsubscribe, whoever posts: the button, or the recipient's mail program."""
        subscription = _open_posted(t)
        _record(subscription)
        return _page(request, subscription, is_done=True)

    return router


class _TokenFilter(logging.Filter):
    """Removes the query, which holds the token, from the requests that uvicorn logs."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten the path of a record; return True, so that it is logged."""
        if isinstance(record.args, tuple):
            record.args = tuple(_without_token(each) for each in record.args)
        return True


def _without_token(value: object) -> object:
    if not isinstance(value, str):
        return value
    path, _, _ = value.partition("?")
    # This includes a path with an extra slash, which is redirected.
    return path if _PATH in path.lower() else value


def _keep_tokens_out_of_the_access_log() -> None:
    access_log = logging.getLogger("uvicorn.access")
    if not any(isinstance(each, _TokenFilter) for each in access_log.filters):
        access_log.addFilter(_TokenFilter())


def _open(token: str) -> Subscription:
    parts = runtime.current()
    try:
        return unsubscribe_links_from_settings(parts.settings, parts.keyring).open(token)
    except InvalidLink as error:
        raise NotFound(error.message, fix=error.fix) from None


def _open_posted(token: str) -> Subscription:
    try:
        return _open(token)
    except NotFound:
        rejections_of(runtime.current()).add(UNSUBSCRIBE_SOURCE, FeedbackResult.FORGED)
        raise


def _record(subscription: Subscription) -> None:
    """Record the preference, and the event on the timeline of the email if that is still in the log."""
    parts = runtime.current()
    report = Feedback(
        source=UNSUBSCRIBE_SOURCE,
        source_id=hashlib.sha256(f"{subscription.email_id} {subscription.kind}".encode()).hexdigest(),
        kind=FeedbackKind.UNSUBSCRIBED,
        proof=Proof.VERIFIED,
        email_id=subscription.email_id,
        recipient=subscription.address,
    )
    with time_limit(_SECONDS):
        parts.unsubscribes.add(subscription.address, kind=subscription.kind, email_id=subscription.email_id)
        record(parts, [report])


def _page(request: Request, subscription: Subscription, *, is_done: bool) -> Response:
    settings = runtime.configured_settings()
    return render(
        request,
        "unsubscribe.html",
        problem=None,
        is_done=is_done,
        project_name=settings.project_name,
        address=mask_address(subscription.address),
        kind=subscription.kind,
    )
