"""Takes feedback from all sources that the settings name, until the process ends."""

from __future__ import annotations

import imaplib
import threading
import time
from typing import TYPE_CHECKING, Protocol

from mailctl.domain.feedback_sources import IMAP, LMTP, MAILDIR
from mailctl.errors import ConfigurationError, LogUnavailable, ServiceUnavailable
from mailctl.feedback.imap import IMAP_ERRORS, ImapSource, describe_imap_error, parse_mailbox
from mailctl.feedback.ingest import MailIngester
from mailctl.feedback.lmtp import LmtpSource
from mailctl.feedback.maildir import MaildirSource
from mailctl.feedback.rejections import rejections_of
from mailctl.security.address_masking import masking_logger
from mailctl.smtp.oauth import token_source_of_command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailctl.delivery_log.reports import FeedbackResult
    from mailctl.runtime import Runtime
    from mailctl.settings import Settings

_log = masking_logger("mailctl.feedback")

#: Seconds before a source that failed is tried again: at first, and at most.
_FIRST_REST_SECONDS, _LONGEST_REST_SECONDS = 1.0, 60.0
#: Seconds between two looks whether the process should end, and until it ends without its sources.
_POLL_SECONDS, _PATIENCE_SECONDS = 0.5, 15.0
#: What a source may raise although nothing is wrong with this program.
_SOURCE_ERRORS = (*IMAP_ERRORS, LogUnavailable, ConfigurationError)


class Source(Protocol):
    """A place where mail with feedback arrives."""

    name: str

    def run(self, take: Callable[..., object], *, stopped: threading.Event, once: bool) -> None:
        """Pass each message to `take` until it is stopped, or once until there is no more."""


def sources_from_settings(
    settings: Settings, *, on_refused: Callable[[str, FeedbackResult], object] | None = None
) -> list[Source]:
    """Return the sources that the settings name.

    Args:
        settings: the settings.
        on_refused: counts input that a source refuses before it is a message; called with its name.

    Raises:
        ConfigurationError: a setting is not usable.
    """
    found: list[Source] = []
    if settings.mailctl_feedback_maildir:
        found.append(MaildirSource(settings.mailctl_feedback_maildir))
    if settings.mailctl_feedback_lmtp:
        found.append(LmtpSource(settings.mailctl_feedback_lmtp, on_refused=on_refused))
    if settings.mailctl_feedback_imap:
        command = settings.mailctl_feedback_imap_token_command.get_secret_value()
        mailbox = parse_mailbox(
            settings.mailctl_feedback_imap,
            password=settings.mailctl_feedback_imap_password.get_secret_value(),
            tokens=token_source_of_command(command, setting=f"{IMAP}_TOKEN_COMMAND") if command else None,
            ca_file=settings.email_ca_file,
        )
        found += [ImapSource(mailbox, folder) for folder in mailbox.folders]
    return found


def require_sources(runtime: Runtime) -> list[Source]:
    """Return the sources that the settings name.

    Args:
        runtime: the parts of this process, with a delivery log that may be written.

    Raises:
        ConfigurationError: a setting is not usable, or none names a source.
    """
    found = sources_from_settings(runtime.settings, on_refused=rejections_of(runtime).add)
    if not found:
        raise ConfigurationError(
            "No source of feedback is configured.",
            fix=f"Set {MAILDIR}, {IMAP} or {LMTP}.",
        )
    return found


class FeedbackWatch:
    """Runs sources, each in a thread; one that fails is tried again, and stops nothing else.

    Args:
        runtime: the parts of this process, with a delivery log that may be written.
        sources: the sources.
        patience_seconds: how long `run` waits for sources that have to end.
    """

    def __init__(
        self, runtime: Runtime, sources: Sequence[Source], *, patience_seconds: float = _PATIENCE_SECONDS
    ) -> None:
        self._patience_seconds = patience_seconds
        self._ingester = MailIngester(runtime)
        self._sources = sources
        self._stopped = threading.Event()

    def run(self) -> None:
        """Take feedback until `stop` is called; a source that does not end by then is abandoned."""
        threads = [
            # One that hangs must not keep the process from ending.
            threading.Thread(target=self._run_for_ever, args=(source,), name=source.name, daemon=True)
            for source in self._sources
        ]
        for thread in threads:
            thread.start()
        # Not a wait for the event, which a signal handler could not set then.
        while not self._stopped.is_set():
            time.sleep(_POLL_SECONDS)
        deadline = time.monotonic() + self._patience_seconds
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                _log.error("the source %s did not stop in time", thread.name)

    def run_once(self) -> int:
        """Take what is there now, from the sources that can tell; return how many messages that were.

        Raises:
            LogUnavailable: the delivery log cannot be written.
            ServiceUnavailable: a source does not work.
        """
        taken = 0

        def take(data: bytes, recipient: str = "") -> None:
            nonlocal taken
            self._ingester.take(data, recipient=recipient)
            taken += 1

        for source in self._sources:
            try:
                source.run(take, stopped=self._stopped, once=True)
            except IMAP_ERRORS as error:
                raise ServiceUnavailable(
                    f"The source {source.name} does not work: {_describe(error)}.",
                    fix="Check its address, user and password (MAILCTL_FEEDBACK_*).",
                ) from error
        return taken

    def stop(self) -> None:
        """Let the sources end; safe in a signal handler."""
        self._stopped.set()

    def _run_for_ever(self, source: Source) -> None:
        rest = _FIRST_REST_SECONDS
        while not self._stopped.is_set():
            taken = 0

            def take(data: bytes, recipient: str = "") -> None:
                nonlocal taken
                self._ingester.take(data, recipient=recipient)
                taken += 1

            try:
                source.run(take, stopped=self._stopped, once=False)
            except _SOURCE_ERRORS as error:
                _log.warning("the source %s does not work: %s", source.name, _describe(error))
            except Exception as error:
                _log.error("the source %s failed unexpectedly (%s)", source.name, type(error).__name__)
            rest = _FIRST_REST_SECONDS if taken else min(rest * 2, _LONGEST_REST_SECONDS)
            self._stopped.wait(rest)


def _describe(error: BaseException) -> str:
    """Return what is wrong, without the words of a server, which may quote addresses."""
    if isinstance(error, imaplib.IMAP4.error):
        return describe_imap_error(error)
    is_own = isinstance(error, LogUnavailable | ConfigurationError)
    return str(error) if is_own or isinstance(error, OSError) else type(error).__name__
