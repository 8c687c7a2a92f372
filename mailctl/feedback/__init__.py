"""Reports about emails after a mail server has accepted them: delivered, bounced, complained, unsubscribed.

Whatever the source is, it makes `Feedback` of what it hears and calls `record`; what is no feedback, it
passes to `count_rejected`. `router` takes feedback over HTTP:

    app.include_router(mailctl.feedback.router, prefix="/mail")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mailctl.delivery_log.reports import FeedbackResult
from mailctl.feedback.models import Feedback, FeedbackKind, Proof
from mailctl.feedback.recording import FeedbackReceipt, count_rejected, record, settle

if TYPE_CHECKING:
    from fastapi import APIRouter

    #: The webhooks of providers, and unsubscribing; the delivery log is opened by the first request.
    router: APIRouter

__all__ = [
    "Feedback",
    "FeedbackKind",
    "FeedbackReceipt",
    "FeedbackResult",
    "Proof",
    "count_rejected",
    "record",
    "router",
    "settle",
]


def __getattr__(name: str) -> object:
    # FastAPI lives in `mailctl.web`, above this package: what is heard by mail needs neither.
    if name == "router":
        globals()["router"] = router = import_module("mailctl.web.feedback").make_feedback_router()
        return router
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
