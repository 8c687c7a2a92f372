"""Messages that tests of the reading of mail are given, as short as they can be."""

from __future__ import annotations

from mailctl.feedback.received_mail import ReceivedMail

_END = "--b--"


def mail(text: str) -> ReceivedMail:
    """Return a message of lines that end as on the wire."""
    return ReceivedMail(text.replace("\n", "\r\n").encode())


def report(status: str, *, text: str = "It failed.", returned: str = "", headers: str = "") -> ReceivedMail:
    """Return a delivery status notification.

    Args:
        status: the groups of its status part, with an empty line between two.
        text: what it says to people.
        returned: the headers of the message that it returns; "" for none.
        headers: more headers of its own, each with its line end.
    """
    parts = ["Content-Type: text/plain; charset=utf-8\n\n" + text]
    parts.append("Content-Type: message/delivery-status\n\n" + status)
    if returned:
        parts.append("Content-Type: text/rfc822-headers\n\n" + returned)
    body = "".join(f"--b\n{part}\n" for part in parts)
    kind = "Content-Type: multipart/report; report-type=Delivery-Status; boundary=b\n"
    return mail(f"{headers}MIME-Version: 1.0\n{kind}\n{body}{_END}\n")
