"""The email that everybody sends: 6 kB of HTML and 2 kB of text."""

from __future__ import annotations

import os
from email.message import EmailMessage

SENDER = "app@example.com"
SUBJECT = "Your order"
_SENTENCE = "Thank you for your order, it is on its way and will arrive within two days."
TEXT = "\n".join([_SENTENCE] * 27)
HTML = "<html><body>" + "\n".join([f"<p>{_SENTENCE}</p>"] * 73) + "</body></html>"


def smtp_port() -> int:
    """Return the port of the mail server, which is on this host."""
    return int(os.environ["PEERS_SMTP_PORT"])


def database_url() -> str:
    """Return the address of the peer's database."""
    return os.environ["PEERS_DATABASE"]


def make_message(address: str) -> EmailMessage:
    """Return the email to an address, as a service writes it with the standard library."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = SENDER, address, SUBJECT
    message.set_content(TEXT)
    message.add_alternative(HTML, subtype="html")
    return message
