"""A kind of the service's own, from one terminal to a real worker in another."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.acceptance.terminal import Terminal

CATALOG = """
from datetime import timedelta
from mailctl.domain.catalog import Kind, Link

KINDS = Kind(
    name="invoice",
    subject="Invoice {number} from {project_name}",
    template="invoice",
    lifetime=timedelta(days=3),
    variables=("number",),
    links=(
        Link(variable="invoice_url", path="/invoices", purpose="invoice", lifetime=timedelta(days=30)),
    ),
    queue="billing",
)
"""
ORDER = ("invoice", "--email", "zoe@example.com", "--set", "number=7")


def open_shop(terminal: Terminal) -> None:
    """Make the catalog and the templates of a service."""
    (terminal.folder / "shop_emails.py").write_text(CATALOG)
    templates = terminal.folder / "templates"
    templates.mkdir()
    (templates / "invoice.html").write_text('<a href="{{ invoice_url }}">{{ number }}</a> {{ expires_in }}')
    (templates / "invoice.txt").write_text("{{ number }}: {{ invoice_url }} ({{ expires_in }})")
    terminal.set(MAILCTL_CATALOG="shop_emails", MAILCTL_TEMPLATES="templates")


def test_it_is_sent(terminal: Terminal) -> None:
    """By a worker that consumes the queue of the kind without being told."""
    open_shop(terminal)
    task_id = terminal.send(*ORDER)
    worker = terminal.run("worker", "--drain", "-c", "1")
    assert worker.code == 0, worker.err
    status = terminal.status(task_id)
    assert (status["state"], status["kind"], status["queue"]) == ("captured", "invoice", "billing")
    assert status["celery_state"] == "SUCCESS"
    [path] = (terminal.folder / ".mailctl" / "mail").glob("*.eml")
    message = message_from_bytes(path.read_bytes(), policy=policy.default)
    body = message.get_body(("plain",))
    assert body is not None
    assert message["Subject"] == "Invoice 7 from Example"
    assert re.search(r"7: http://localhost:3000/invoices\?t=\S{20,} \(720 hours\)", body.get_content())
