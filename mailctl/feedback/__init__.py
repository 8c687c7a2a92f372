"""What is heard of an email after a mail server accepted it: delivered, bounced, complained, unsubscribed.

Whatever the source is, it makes `Feedback` of what it hears and calls `record`; what is no feedback, it
passes to `count_rejected`.
"""

from mailctl.delivery_log.reports import FeedbackResult
from mailctl.feedback.models import Feedback, FeedbackKind, Proof
from mailctl.feedback.recording import FeedbackReceipt, count_rejected, record, settle

__all__ = [
    "Feedback",
    "FeedbackKind",
    "FeedbackReceipt",
    "FeedbackResult",
    "Proof",
    "count_rejected",
    "record",
    "settle",
]
