"""Traces emails from the request to the mail server with OpenTelemetry, if it is installed and configured.

Configuring a tracer imports the API of OpenTelemetry: without that, this module imports nothing.
"""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: The attribute with the id of the email.
EMAIL_ID_ATTRIBUTE = "mailctl.email_id"
_API = "opentelemetry.trace"
#: W3C Trace Context: version, trace, span and flags.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-[0-9a-f]{2}")
#: The time limit for exporting spans when a process ends, in milliseconds.
_FLUSH_MILLISECONDS = 2000


class Span:
    """A span; it does nothing without OpenTelemetry.

    Args:
        span: the span of OpenTelemetry; None if there is none.
    """

    def __init__(self, span: Any = None) -> None:
        self._span = span

    def set_attributes(self, **attributes: str | int | None) -> None:
        """Set attributes with the prefix `mailctl.`; they must not contain addresses, links or tokens."""
        if self._span is not None:
            known = {f"mailctl.{name}": value for name, value in attributes.items() if value is not None}
            self._span.set_attributes(known)

    def fail(self, reason: str) -> None:
        """Mark the span as failed."""
        if self._span is not None:
            api = sys.modules[_API]
            self._span.set_status(api.StatusCode.ERROR, reason)


@contextmanager
def span(name: str, *, parent: Mapping[str, str] | None = None, is_client: bool = False) -> Iterator[Span]:
    """Trace the block.

    Args:
        name: the name of the span.
        parent: the trace context of another process (`inject_trace_context`); None for the current span.
        is_client: whether the block calls another program.
    """
    api = _api()
    if api is None:
        yield Span()
        return
    context = _propagator().extract(dict(parent)) if parent else None
    started = api.get_tracer("mailctl").start_as_current_span(
        name,
        context=context,
        kind=api.SpanKind.CLIENT if is_client else api.SpanKind.INTERNAL,
        # The message of an exception may contain addresses.
        record_exception=False,
        set_status_on_exception=False,
    )
    with started as opened:
        made = Span(opened)
        try:
            yield made
        except BaseException as error:
            made.fail(type(error).__name__)
            raise


def inject_trace_context() -> dict[str, str]:
    """Return the trace context of the current span, for another process; {} if there is none."""
    carrier: dict[str, str] = {}
    if _api() is not None:
        _propagator().inject(carrier)
    return carrier


def trace_ids(traceparent: str | None) -> dict[str, str]:
    """Return the ids of trace and span for a log record.

    Args:
        traceparent: the trace context of an email; None for the current span.

    Returns:
        `trace_id` and `span_id`; {} if there is no trace.
    """
    if traceparent:
        found = _TRACEPARENT.fullmatch(traceparent)
        return {"trace_id": found["trace"], "span_id": found["span"]} if found else {}
    api = _api()
    context = api.get_current_span().get_span_context() if api else None
    if context is None or not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def flush() -> None:
    """Export finished spans before the process ends."""
    api = _api()
    provider = api.get_tracer_provider() if api else None
    if provider is not None and hasattr(provider, "force_flush"):
        provider.force_flush(_FLUSH_MILLISECONDS)


def _api() -> Any:
    api = sys.modules.get(_API)
    if api is None or isinstance(api.get_tracer_provider(), api.ProxyTracerProvider):
        return None
    return api


def _propagator() -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator()
