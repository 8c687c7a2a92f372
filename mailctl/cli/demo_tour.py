"""The tour: four emails to a demo user through a real worker process, in a scratch home, no server."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mailctl.diagnosis.status import StatusService
from mailctl.domain.catalog import BUILT_IN_KINDS
from mailctl.domain.request import EmailRequest
from mailctl.enqueue.send_service import Recipients, SendService
from mailctl.runtime import Runtime
from mailctl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailctl.domain.models import Email

#: Seconds for all emails together; on a busy machine the worker takes most of it to start.
TOUR_TIMEOUT_SECONDS = 60.0
_STOP_TIMEOUT_SECONDS = 8.0
_USER_ID = "1"


class DemoTour:
    """Runs in a new scratch folder, with the development profile whatever the environment says."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="mailctl-demo-"))
        self._settings = Settings(mailctl_home=self.home)

    def run(self) -> Iterator[Email]:
        """Send the four emails; yields each whenever its state has changed."""
        runtime = Runtime(self._settings)
        try:
            sending, inquiry = SendService(runtime), StatusService(runtime)
            user = Recipients(user_ids=[_USER_ID])
            emails = [sending.send(request, user).emails[0] for request in _requests()]
            yield from emails
            deadline = time.monotonic() + TOUR_TIMEOUT_SECONDS
            with self._worker():
                for email in emails:
                    left = max(0.0, deadline - time.monotonic())
                    looks = inquiry.follow(email.id, timeout=left)
                    yield from (look for look in looks if look.state != email.state)
        finally:
            runtime.close()

    def required_environment(self, settings: Settings | None) -> dict[str, str]:
        """Return what has to be set for a command that reads the log of the tour.

        Args:
            settings: those that the command would read otherwise; None if they are not usable.
        """
        home = {"MAILCTL_HOME": str(self.home)}
        ours = {"MAILCTL_DATABASE_URL": "", "DEBUG": "True"}
        is_needed = {
            "MAILCTL_DATABASE_URL": settings is None or settings.mailctl_database_url is not None,
            "DEBUG": settings is None or not settings.debug,
        }
        return home | {name: value for name, value in ours.items() if is_needed[name]}

    @contextmanager
    def _worker(self) -> Iterator[None]:
        """A worker process of its own, which ends when nothing is left to do."""
        with (self.home / "worker.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "mailctl", "worker", "--drain"],
                cwd=self.home,
                env=self._environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                yield
            finally:
                process.terminate()
                try:
                    process.wait(_STOP_TIMEOUT_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _environment(self) -> dict[str, str]:
        ours = {name.upper() for name in Settings.model_fields}
        others = {name: value for name, value in os.environ.items() if name not in ours}
        return others | {"MAILCTL_HOME": str(self.home)}


def _requests() -> list[EmailRequest]:
    return [
        EmailRequest(kind=kind, context=kind.samples)
        for kind in BUILT_IN_KINDS.values()
        if kind.template is not None
    ]
