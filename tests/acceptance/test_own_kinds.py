"""A kind of the service's own, from one terminal to a real worker in another."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.acceptance.terminal import Terminal
    from tests.smtp_server import ScriptedSmtpServer

CATALOG = """
from datetime import timedelta
from mailctl.catalog import Kind, Link

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
LINK = re.compile(rb"https://shop\.example/invoices\?t=3D\S+")


def open_shop(terminal: Terminal) -> None:
    """Make the catalog and the templates of a service."""
    (terminal.folder / "shop_emails.py").write_text(CATALOG)
    templates = terminal.folder / "templates"
    templates.mkdir()
    (templates / "invoice.html").write_text('<a href="{{ invoice_url }}">{{ number }}</a> {{ expires_in }}')
    (templates / "invoice.txt").write_text("{{ number }}: {{ invoice_url }} ({{ expires_in }})")
    terminal.set(MAILCTL_CATALOG="shop_emails", MAILCTL_TEMPLATES="templates")


def test_it_is_sent_by_reference_and_in_full(production: Terminal, smtp_server: ScriptedSmtpServer) -> None:
    """By its own queue; a worker with another log knows it as an email of the generic kind."""
    open_shop(production)
    worker = production.worker("-c", "1")
    task_id = production.send(*ORDER, "--wait")
    status = production.status(task_id)
    assert (status["state"], status["kind"], status["queue"]) == ("sent", "invoice", "billing")
    assert status["celery_state"] == "SUCCESS"
    worker.stop()

    elsewhere = {"MAILCTL_HOME": str(production.folder / "elsewhere")}
    window = production.worker("-c", "1", "-Q", "billing", MAILCTL_CATALOG="", **elsewhere)
    stranger = production.send(*ORDER, MAILCTL_MESSAGES="full")
    window.wait_until(lambda: len(smtp_server.messages) == 2)
    assert production.run("status", stranger, "--json", **elsewhere).data["kind"] == "email"

    first, second = smtp_server.messages
    for message in (first, second):
        assert message.recipients == ("zoe@example.com",)
        assert b"Subject: Invoice 7 from Example" in message.data
        assert LINK.search(message.data.replace(b"=\r\n", b""))
        assert b"720 hours" in message.data
