"""One trace from the request to the mail server, over two processes and the delivery log."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.acceptance.terminal import Terminal

#: What a service does that wants traces; the worker loads it as the module of the service's own kinds.
SETUP = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

KINDS = []
spans = open("spans.jsonl", "a")
exporter = ConsoleSpanExporter(out=spans, formatter=lambda span: span.to_json(None) + "\\n")
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
"""
REQUEST = """
import asyncio, types
import traced
from mailctl import EmailService

async def request():
    user = types.SimpleNamespace(id=1, email="ada@example.com", username="ada")
    with traced.trace.get_tracer("web").start_as_current_span("POST /password-reset"):
        ids = {await EmailService.send_password_reset_email(user, "canary-token", idempotency_key="a")
               for _ in range(2)}
    await EmailService.close()
    print(*ids)

asyncio.run(request())
"""


def test_a_trace_leads_from_the_request_to_the_mail_server(terminal: Terminal) -> None:
    """Its spans and the worker's log lines name the email; it makes no difference to what is the same."""
    (terminal.folder / "traced.py").write_text(SETUP)
    terminal.environment["PYTHONPATH"] = str(terminal.folder)
    terminal.set(MAILCTL_CATALOG="traced")
    asked = terminal.open(terminal.python, "-c", REQUEST, name="service")
    assert asked.wait() == 0, asked.output
    [task_id] = asked.output.split()
    worked = terminal.run("worker", "--drain", "--log-format", "json")
    assert worked.code == 0, worked.err
    text = (terminal.folder / "spans.jsonl").read_text()
    spans: dict[str, Any] = {}
    for line in text.splitlines():
        span = json.loads(line)
        spans.setdefault(span["name"], span)
    parents = ["POST /password-reset", "mailctl.record", "mailctl.deliver", "mailctl.smtp"]
    for parent, child in pairwise(parents):
        assert spans[child]["parent_id"] == spans[parent]["context"]["span_id"], child
        assert spans[child]["attributes"]["mailctl.email_id"] == task_id
    assert len({span["context"]["trace_id"] for span in spans.values()}) == 1
    lines = [json.loads(line) for line in worked.err.splitlines()]
    [told] = [line for line in lines if line["action"] == "email_captured"]
    assert told["email_id"] == task_id
    assert f"0x{told['trace_id']}" == spans["mailctl.deliver"]["context"]["trace_id"]
    assert "canary-token" not in text
    assert "ada@example.com" not in text


def test_nothing_is_imported_where_nobody_traces(terminal: Terminal) -> None:
    """Neither the API nor anything else of OpenTelemetry."""
    script = (
        "import sys\n"
        "from mailctl import tracing\n"
        "with tracing.span('x') as span: span.set_attributes(email_id='1')\n"
        "assert (tracing.inject_trace_context(), tracing.trace_ids(None)) == ({}, {})\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    # With an option of the interpreter it is a new process, which has imported nothing else.
    window = terminal.open(terminal.python, "-s", "-c", script, name="quiet")
    assert (window.wait(), window.output.strip()) == (0, "[]")
