"""The views of the versions and the exit codes of mailctl."""

from __future__ import annotations

import platform
from importlib.metadata import version

from mailctl.errors import ExitCode
from mailctl.views.base import View


class VersionView(View):
    """The versions of mailctl, Python and Celery."""

    mailctl: str
    python: str
    celery: str

    @classmethod
    def of_this_process(cls) -> VersionView:
        """Return the versions that are installed here."""
        return cls(mailctl=version("mailctl"), python=platform.python_version(), celery=version("celery"))


class ExitCodeView(View):
    """An exit code of `mailctl` commands."""

    code: int
    meaning: str

    @classmethod
    def of(cls, code: ExitCode) -> ExitCodeView:
        """Return the view of an exit code."""
        return cls(code=int(code), meaning=code.meaning)
