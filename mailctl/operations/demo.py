"""The demo: sends emails to a demo user through a real worker process, in a temporary folder, no server."""

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

#: How long all emails may take together, in seconds; the start of the worker takes most of it.
TIMEOUT_SECONDS = 60.0
_STOP_TIMEOUT_SECONDS = 8.0
_USER_ID = "1"


class Demo:
    """Sends emails of the built-in kinds in a temporary folder, always with the development profile."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="mailctl-demo-"))
        self._settings = Settings(mailctl_home=self.home)

    def run(self) -> Iterator[Email]:
        """Send the emails; yields each of them at every change of its state."""
        runtime = Runtime(self._settings)
        try:
            send_service, status_service = SendService(runtime), StatusService(runtime)
            user = Recipients(user_ids=[_USER_ID])
            emails = [send_service.send(request, user).emails[0] for request in _requests()]
            yield from emails
            deadline = time.monotonic() + TIMEOUT_SECONDS
            with self._worker():
                for email in emails:
                    timeout = max(0.0, deadline - time.monotonic())
                    changes = status_service.follow(email.id, timeout=timeout)
                    yield from (change for change in changes if change.state != email.state)
        finally:
            runtime.close()

    def required_environment(self, settings: Settings | None) -> dict[str, str]:
        """Return the environment variables with which a command reads the delivery log of the demo.

        Args:
            settings: the settings that the command reads otherwise; None if they are invalid.
        """
        home = {"MAILCTL_HOME": str(self.home)}
        defaults = {"MAILCTL_DATABASE_URL": "", "DEBUG": "True"}
        is_needed = {
            "MAILCTL_DATABASE_URL": settings is None or settings.mailctl_database_url is not None,
            "DEBUG": settings is None or not settings.debug,
        }
        return home | {name: value for name, value in defaults.items() if is_needed[name]}

    @contextmanager
    def _worker(self) -> Iterator[None]:
        """Run a worker process, which stops when no email is left."""
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
        settings = {name.upper() for name in Settings.model_fields}
        others = {name: value for name, value in os.environ.items() if name not in settings}
        return others | {"MAILCTL_HOME": str(self.home)}


def _requests() -> list[EmailRequest]:
    return [
        EmailRequest(kind=kind, context=kind.samples)
        for kind in BUILT_IN_KINDS.values()
        if kind.template is not None
    ]
