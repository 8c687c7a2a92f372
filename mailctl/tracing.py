"""Traces from the request to the mail server, where OpenTelemetry is there and set up; else nothing of it.

Whoever sets up a tracer has imported the API: where nobody has, this module imports nothing either.
"""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: The attribute that joins a span with an email.
EMAIL_ID_ATTRIBUTE = "mailctl.email_id"
_API = "opentelemetry.trace"
#: W3C Trace Context: version, trace, span and flags.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-[0-9a-f]{2}")
#: Milliseconds that a process at its end gives the exporter.
_FLUSH_MILLISECONDS = 2000


class Span:
    """What is being traced; does nothing where nothing is.

    Args:
        span: OpenTelemetry's.
    """

    def __init__(self, span: Any = None) -> None:
        self._span = span

    def set_attributes(self, **facts: str | int | None) -> None:
        """Add facts, under `mailctl.`; never an address, a link or a token."""
        if self._span is not None:
            known = {f"mailctl.{name}": value for name, value in facts.items() if value is not None}
            self._span.set_attributes(known)

    def fail(self, reason: str) -> None:
        """Mark it as failed."""
        if self._span is not None:
            api = sys.modules[_API]
            self._span.set_status(api.StatusCode.ERROR, reason)


@contextmanager
def span(name: str, *, parent: Mapping[str, str] | None = None, is_client: bool = False) -> Iterator[Span]:
    """Trace what happens inside.

    Args:
        name: of the span.
        parent: what `carried` returned in another process; None goes on from the current span.
        is_client: whether it waits for another program.
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
        # Its words may hold what nobody but the log may know.
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
    """Return the current span in the form in which another process can go on from it; {} if there is none."""
    carrier: dict[str, str] = {}
    if _api() is not None:
        _propagator().inject(carrier)
    return carrier


def trace_ids(traceparent: str | None) -> dict[str, str]:
    """Return trace and span for a log line: those given, else the current ones; {} if there are none."""
    if traceparent:
        found = _TRACEPARENT.fullmatch(traceparent)
        return {"trace_id": found["trace"], "span_id": found["span"]} if found else {}
    api = _api()
    context = api.get_current_span().get_span_context() if api else None
    if context is None or not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def flush() -> None:
    """Let what was traced leave the process, which is about to end."""
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
