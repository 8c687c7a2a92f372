"""Takes messages that came in by mail, from whichever source, and records what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailctl.delivery_log.reports import FeedbackResult
from mailctl.errors import MailctlError
from mailctl.feedback.listeners import import_listeners
from mailctl.feedback.reading import DSN_SOURCE, read_mail
from mailctl.feedback.recording import FeedbackReceipt, count_rejected, record
from mailctl.security.address_masking import masking_logger

if TYPE_CHECKING:
    from mailctl.runtime import Runtime
    from mailctl.security.bounce_address import BounceAddress

_log = masking_logger("mailctl.feedback")


class MailIngester:
    """Reads messages and records the feedback in them.

    Args:
        runtime: the parts of this process, with a delivery log that may be written.

    Raises:
        ConfigurationError: MAILCTL_BOUNCE_ADDRESS or the app of the service is not usable.
    """

    def __init__(self, runtime: Runtime) -> None:
        from mailctl.security.bounce_address import bounce_address_from_settings

        self._runtime = runtime
        import_listeners(runtime)
        self._bounces: BounceAddress | None = bounce_address_from_settings(runtime.settings)

    def take(self, data: bytes, *, recipient: str = "") -> FeedbackReceipt | FeedbackResult:
        """Record what a message says; what says nothing is counted and forgotten.

        Args:
            data: the message (RFC 5322).
            recipient: its envelope recipient; "" if that is not known.

        Returns:
            What became of its reports, or why it has none.

        Raises:
            LogUnavailable: the delivery log cannot be written; the message has to come again.
        """
        try:
            return self._take(data, recipient=recipient)
        except MailctlError:
            raise
        except Exception as error:
            # It would fail each time that it came again, and keep back what comes after it.
            _log.error("a message could not be read: %s", type(error).__name__)
            count_rejected(self._runtime, DSN_SOURCE, FeedbackResult.MALFORMED)
            return FeedbackResult.MALFORMED

    def _take(self, data: bytes, *, recipient: str) -> FeedbackReceipt | FeedbackResult:
        reading = read_mail(data, bounces=self._bounces, recipient=recipient)
        if reading.rejected is not None:
            count_rejected(self._runtime, reading.source, reading.rejected)
            # Neither its text nor its addresses: they come from strangers.
            _log.info("a message (%s) is not feedback: %s", reading.source, reading.rejected)
            return reading.rejected
        receipt = record(self._runtime, reading.items)
        _log.info(
            "a message (%s): %d recorded, %d repeated, %d unmatched, %d likely",
            reading.source,
            receipt.recorded,
            receipt.repeated,
            receipt.unmatched,
            receipt.likely,
        )
        return receipt
