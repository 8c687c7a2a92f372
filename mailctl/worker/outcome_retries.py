"""Repeats what records outcomes until the delivery log takes them: otherwise emails would be sent again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from mailctl.delivery_log.storage.engine import is_about_a_row
from mailctl.delivery_log.storage.prepared_statements import is_refused_statement
from mailctl.errors import LogUnavailable
from mailctl.security.address_masking import masking_logger
from mailctl.timefmt import format_age

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
_log = masking_logger("mailctl.delivery")
#: Seconds between two tries.
_RETRY_SECONDS = 1.0
#: Seconds after which it is logged again that the outcome is still not recorded.
_REMINDER_SECONDS = 60.0


def repeat_until_recorded(record: Callable[[], _T], what: str) -> _T:
    """Return what a function returns that records outcomes, once the delivery log answers.

    An outage is logged when it begins, once a minute, and when it ends.

    Args:
        record: records the outcomes in one transaction.
        what: names the outcomes in the worker's log, such as "the outcome of email ID".

    Raises:
        LogUnavailable: the log answers, and does not take these values.
    """
    began_at: float | None = None
    remind_at, was_refused = 0.0, False
    while True:
        try:
            result = record()
        except LogUnavailable as error:
            if is_about_a_row(error):
                raise
            if is_refused_statement(error) and not was_refused:
                was_refused = True
                continue
            now = time.monotonic()
            if began_at is None or now >= remind_at:
                began_at, remind_at = began_at or now, now + _REMINDER_SECONDS
                _log.error("cannot record %s yet; retrying: %s", what, error.with_fix)
            time.sleep(_RETRY_SECONDS)
            continue
        if began_at is not None:
            _log.info("recorded %s after %s", what, format_age(time.monotonic() - began_at))
        return result
