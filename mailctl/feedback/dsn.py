"""Delivery status notifications (RFC 3464): what each recipient's group of fields says."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from mailctl.feedback import wording
from mailctl.feedback.models import FeedbackKind
from mailctl.feedback.verdicts import Verdict

if TYPE_CHECKING:
    from datetime import datetime

    from mailctl.feedback.received_mail import FieldGroup, ReceivedMail

_KINDS = {
    "failed": FeedbackKind.BOUNCED,
    "failure": FeedbackKind.BOUNCED,
    "delayed": FeedbackKind.DELAYED,
    "delivered": FeedbackKind.DELIVERED,
    "relayed": FeedbackKind.RELAYED,
    # Delivered to the address, which then forwards to others (RFC 3464 section 2.3.3).
    "expanded": FeedbackKind.DELIVERED,
}
#: Recipients of one report; emails of mailctl have one.
_MAX_RECIPIENTS = 20
_ENHANCED = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")
_CODE = re.compile(r"(?<![\d.])([245]\d\d)(?=[ \-#:]|$)")
# Neither is looked for in the middle of a word: that takes quadratic time.
_ADDRESS = re.compile(r"(?<![^\s<>;,])[^\s<>;,]+@[^\s<>;,()]+")
_HOST = re.compile(r"(?<![\w-])[\w-]+(?:\.[\w-]+)+|\[[0-9a-fA-F.:]+\]")


def read_status(mail: ReceivedMail) -> list[Verdict]:
    """Return what a delivery status notification says, a verdict for each recipient.

    Args:
        mail: a message with a part of type message/delivery-status.

    Returns:
        The verdicts; none if it has neither an action nor a status.
    """
    groups = [group for group in mail.status_groups if _is_of_recipient(group)]
    found = (_verdict(group, mail) for group in groups[:_MAX_RECIPIENTS])
    return [verdict for verdict in found if verdict is not None]


def split_codes(text: str) -> tuple[int | None, str | None]:
    """Return the reply code and the enhanced status code of a negative or positive reply in a text."""
    code, enhanced = _CODE.search(text), _ENHANCED.search(text)
    return (int(code[1]) if code else None), (enhanced[0] if enhanced else None)


def find_address(text: str) -> str | None:
    """Return the first address in a field of a report; None if there is none."""
    found = _ADDRESS.search(text)
    return found[0] if found else None


def _is_of_recipient(group: FieldGroup) -> bool:
    return bool(group.raw("final-recipient") or group.raw("original-recipient") or group.raw("action"))


def _verdict(group: FieldGroup, mail: ReceivedMail) -> Verdict | None:
    action = re.split(r"[\s(;]", group.raw("action").lower(), maxsplit=1)[0]
    diagnostic = group.get("diagnostic-code")
    code, said = split_codes(diagnostic)
    status = _ENHANCED.search(group.raw("status"))
    # The words of the remote server are more exact than the status that a program derives from them.
    enhanced = _more_exact(status[0] if status else None, said)
    kind = _KINDS.get(action) or _kind_of_class(enhanced or str(code or ""))
    if kind is None:
        return None
    # A server that relays the message is not the one that has it then.
    reporter = "" if kind is FeedbackKind.RELAYED else mail.status_groups[0].get("reporting-mta")
    return Verdict(
        kind=kind,
        recipient=_address(group.get("original-recipient")) or _address(group.get("final-recipient")),
        smtp_code=code,
        enhanced_code=enhanced,
        diagnostic=diagnostic,
        remote_server=_host(group.get("remote-mta") or reporter),
        is_permanent=wording.is_permanent(mail.text, code=code, enhanced=enhanced),
        # Programs that do not tell when they tried last report at once.
        at=parse_date(group.raw("last-attempt-date")) or parse_date(mail.header("Date")),
    )


def _more_exact(status: str | None, said: str | None) -> str | None:
    """Return the status by the words of the server if that of the report says no more than its class."""
    if status is None or status.endswith(".0.0"):
        return said or status
    return status


def _kind_of_class(code: str) -> FeedbackKind | None:
    kinds = {"2": FeedbackKind.DELIVERED, "4": FeedbackKind.DELAYED, "5": FeedbackKind.BOUNCED}
    return kinds.get(code[:1])


def _address(value: str) -> str | None:
    return find_address(_unescaped(value))


def _unescaped(value: str) -> str:
    """Return an address without xtext (RFC 3461 section 4), which has to encode + and = in an address.

    Nothing says whether an address is xtext: another sequence such as +24 is part of one that is not.
    """
    return value.replace("+2B", "+").replace("+3D", "=")


def _host(value: str) -> str | None:
    found = _HOST.search(value)
    return found[0] if found else None


def parse_date(value: str) -> datetime | None:
    """Return the time of a date header in UTC; None if it is none."""
    try:
        found = parsedate_to_datetime(value)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
