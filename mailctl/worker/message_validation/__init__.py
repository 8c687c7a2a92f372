"""Validation of messages before Celery acts on them: headers, properties and body.

Everything in this package but the adapters to kombu and py-amqp (`amqp_frames`, `decompression`) is a
decision on values, without input or output.
"""

from mailctl.worker.message_validation.body import MAX_BODY, MAX_SERVICE_BODY, check_charset
from mailctl.worker.message_validation.models import (
    JSON_CONTENT_TYPE,
    Accepted,
    IncomingMessage,
    InvalidMessage,
    Rejected,
)
from mailctl.worker.message_validation.validation import (
    EXPIRES_HEADER,
    NOT_BEFORE_HEADER,
    REFUSAL_HEADER,
    task_name,
    validate_message,
    validate_service_message,
)

__all__ = [
    "EXPIRES_HEADER",
    "JSON_CONTENT_TYPE",
    "MAX_BODY",
    "MAX_SERVICE_BODY",
    "NOT_BEFORE_HEADER",
    "REFUSAL_HEADER",
    "Accepted",
    "IncomingMessage",
    "InvalidMessage",
    "Rejected",
    "check_charset",
    "task_name",
    "validate_message",
    "validate_service_message",
]
